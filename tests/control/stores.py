"""An ApprovalStore in memory that can be made to fail, and definitions to approve."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mcpproxy.core.approvals import Approval
from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.gateway.tools import Effect, Tool

NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)


@dataclass
class Approved:
    """What is durable; `broken` is a disk that does nothing."""

    rows: dict[tuple[str, str], Approval] = field(default_factory=dict)
    broken: bool = False

    async def load_approvals(self) -> Sequence[Approval]:
        self._check()
        return list(self.rows.values())

    async def save_approvals(self, approvals: Sequence[Approval]) -> None:
        self._check()
        self.rows.update({(each.server, each.tool): each for each in approvals})

    async def note_seen(self, server: str, tools: Sequence[str], at: datetime) -> None:
        self._check()
        for key in ((server, tool) for tool in tools):
            if key in self.rows:
                self.rows[key] = replace(self.rows[key], seen_at=at)

    async def forget_approvals(self, server: str, tools: Sequence[str]) -> None:
        self._check()
        for tool in tools:
            self.rows.pop((server, tool), None)

    def _check(self) -> None:
        if self.broken:
            raise StoreUnavailable("the disk is gone")


@dataclass
class StandingClock:
    """It stands until a test moves it."""

    at: datetime = NOON

    def now(self) -> datetime:
        return self.at

    def elapsed(self) -> timedelta:
        return timedelta(0)

    def suspended(self) -> timedelta:
        return timedelta(0)


def tool(name: str, description: str = "", **more: Any) -> Tool:
    definition = {"name": name, "description": description, "inputSchema": {}, **more}
    return Tool(name, description, Effect.READ, json.dumps(definition).encode())
