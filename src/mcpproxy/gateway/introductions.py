"""How the aggregate introduces itself: what its upstreams can do together, and say of themselves.

Law: a capability is declared when an upstream that the caller may reach has it, or has not said
yet what it has; so a client that came early is not told that something is missing for ever. Tasks
are not declared of one that could not be connected.
"""

from collections.abc import Iterable
from typing import Final

from mcpproxy import __version__
from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.access import Caller, may_reach, may_read
from mcpproxy.gateway.catalog import Stock
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.modes.mode import Mode
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.task_abilities import together
from mcpproxy.gateway.text import short
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

OWN_INFO: Final = jsonrpc.raw({"name": "mcpproxy", "version": __version__})
# They stand in the model's context all the time: about a thousand tokens in all.
_OF_ONE: Final = 500
_OF_ALL: Final = 4000
_MAX_KEPT: Final = 32
_CHANGES: Final = {"listChanged": True}


class Introductions:
    """The result of initialize by caller, without a protocol version."""

    def __init__(self, mode: Mode, pool: Pool, stock: Stock) -> None:
        self._mode = mode
        self._pool = pool
        self._stock = stock
        self._made_of = (-1, 0, 0)
        self._made: dict[tuple[Caller, Era], Members] = {}

    def of(self, caller: Caller, era: Era) -> Members:
        silent = sum(not _may_have_tasks(live) for live in self._pool)
        now = (self._stock.revision, len(self._pool), silent)
        if self._made_of != now or len(self._made) >= _MAX_KEPT:
            self._made_of, self._made = now, {}
        if (caller, era) not in self._made:
            self._made[caller, era] = self._introduction(caller, era)
        return dict(self._made[caller, era])

    def _introduction(self, caller: Caller, era: Era) -> Members:
        reached = [live for live in self._pool if may_reach(caller, live.upstream)]
        reached.sort(key=lambda live: live.name)
        readable = [live.agreed for live in reached if may_read(caller, live.upstream)]
        tasks = together(live.agreed for live in reached if _may_have_tasks(live))
        capabilities = {**self._capabilities(readable), **tasks.declared(era)}
        return {
            "capabilities": jsonrpc.raw(capabilities),
            "serverInfo": OWN_INFO,
            "instructions": jsonrpc.raw(self._instructions(reached)),
        }

    def _capabilities(self, agreed: list[Agreed | None]) -> dict[str, object]:
        declared: dict[str, object] = {
            "logging": {},
            "tools": {"listChanged": self._mode.changes},
        }
        if _any_has(agreed, "prompts"):
            declared["prompts"] = _CHANGES
        if _any_has(agreed, "resources"):
            subscribe = any(each is None or _subscribes(each) for each in agreed)
            declared["resources"] = {"subscribe": subscribe, **_CHANGES}
        if _any_has(agreed, "completions"):
            declared["completions"] = {}
        return declared

    def _instructions(self, reached: list[LiveUpstream]) -> str:
        lines, left = [self._mode.instructions], _OF_ALL
        for live in reached:
            said = _said(live.agreed)
            if not said:
                continue
            line = f"{live.name}: {short(said, min(_OF_ONE, max(left, 0)))}"
            left -= len(line)
            if left < 0:
                lines.append("(Further servers have instructions too.)")
                break
            lines.append(line)
        return "\n".join(lines)


def _any_has(agreed: Iterable[Agreed | None], capability: str) -> bool:
    return any(each is None or each.has(capability) for each in agreed)


def _may_have_tasks(live: LiveUpstream) -> bool:
    """Few servers have any: of one that could not be connected nobody should expect them."""
    return live.agreed is not None or live.connection.error is None


def _subscribes(agreed: Agreed) -> bool:
    try:
        declared = jsonrpc.members(agreed.capabilities.get("resources"))
    except ProtocolError:
        return False
    return bytes(declared.get("subscribe", b"")) == b"true"


def _said(agreed: Agreed | None) -> str:
    return "" if agreed is None else jsonrpc.text(agreed.result.get("instructions")) or ""
