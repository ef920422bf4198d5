"""What tests of the aggregate share: two libraries behind a gateway, callers, and their ears."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import Caller, Permit
from tests.gateway.library import Library
from tests.gateway.world import KEY, Site, running
from tests.peers.mcp_client import connect

ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
UPSTREAM_ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])


@dataclass
class World:
    """Two libraries behind a gateway."""

    site: Site
    one: Library
    two: Library

    @asynccontextmanager
    async def client(
        self, mode: str = "legacy", *, at: str = "", caller: str = "owner", **options: Any
    ) -> AsyncIterator[Client]:
        headers = {"X-API-Key": KEY, "X-Caller": caller}
        url = self.site.url + at
        async with connect(url, headers=headers, mode=mode, **options) as client:
            yield client


CALLERS = {
    "owner": Caller("owner"),
    "half": Caller("half", servers=frozenset({"one"})),
    "denied": Caller("denied", denied=frozenset({"two"})),
    "writer": Caller("writer", permits=frozenset({Permit.WRITE})),
    "tooled": Caller("tooled", tools=frozenset({"one:link"})),
}


def who(scope: Mapping[str, Any]) -> Caller | None:
    return CALLERS[dict(scope["headers"]).get(b"x-caller", b"owner").decode()]


@asynccontextmanager
async def libraries(era: str = "both", routing_mode: str = "direct") -> AsyncIterator[World]:
    one, two = Library("one"), Library("two")
    async with one.over_http(era) as first, two.over_http(era) as second:
        upstreams = (Upstream("one", url=first), Upstream("two", url=second))
        async with running(*upstreams, who=who, routing_mode=routing_mode) as site:
            await site.connected("one", "two")
            await site.offered("one", "two")
            yield World(site, one, two)


def words(read: Any) -> list[tuple[str, str]]:
    return [(str(content.uri), content.text) for content in read.contents]


async def refused(request: Any) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await request
    return caught.value


def result(**members: Any) -> dict[str, Any]:
    return {"result": members}


class Ears:
    """What a client hears besides answers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.heard.append(message)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]


async def raw(client: Client, method: str, params: dict[str, Any]) -> Any:
    """The result of any request, as it came."""
    return await client.session._dispatcher.send_raw_request(method, params)
