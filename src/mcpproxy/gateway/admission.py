"""What of an upstream's tools there is for anybody: between its offer and the catalog.

Law: what is not admitted is in no list, no search and no call. A definition that a person is to
look at first waits, and the others of its server go on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from mcpproxy.core.approvals import Approval, Held, HeldTool, Standing, Trust
from mcpproxy.core.control import Control, ServerControl, ToolApproval
from mcpproxy.core.errors import NotReady, UnknownTool
from mcpproxy.core.ports import Clock
from mcpproxy.gateway.approvals import Approvals
from mcpproxy.gateway.definitions import canonical, digest
from mcpproxy.gateway.tools import Tool


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A definition that waits."""

    tool: Tool
    reason: Held
    digest: str
    text: bytes


@dataclass(frozen=True, slots=True)
class _Reviewed:
    """What came of one server's offer."""

    admitted: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()
    held: dict[str, _Waiting] = field(default_factory=dict)


_NOTHING: Final = _Reviewed()

MAX_TEXT: Final = 64 * 1024
"""Bytes of a definition that are kept to show what changed; longer ones are known by digest."""


def _kept(text: bytes) -> bytes:
    return text if len(text) <= MAX_TEXT else b""


@dataclass(frozen=True, slots=True)
class Counts:
    """Tools of one server by what came of them."""

    admitted: int
    disabled: int
    held: int


class Admission:
    """`control` is what is configured now; whoever changes it lets all offers be admitted anew."""

    def __init__(self, approvals: Approvals, clock: Clock, control: Control) -> None:
        self.control = control
        self._approvals = approvals
        self._clock = clock
        self._reviewed: dict[str, _Reviewed] = {}

    def admitted(self, server: str, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
        """Those that there are for clients, in their order."""
        rules = self.control.of(server)
        if not self._approvals.loaded and rules.approval is not ToolApproval.OFF:
            self._reviewed.pop(server, None)
            return ()
        named = frozenset((rules.enabled_tools or ()) + rules.disabled_tools)
        offered = frozenset(tool.name for tool in tools)
        self._approvals.offered(server, offered, self._clock.now(), named)
        held: dict[str, _Waiting] = {}
        disabled: set[str] = set()
        passed: list[Tool] = []
        for tool in tools:
            waiting = self._review(server, tool, rules)
            if not rules.allows(tool.name):
                disabled.add(tool.name)
            elif waiting is not None:
                held[tool.name] = waiting
            else:
                passed.append(tool)
        names = frozenset(tool.name for tool in passed)
        self._reviewed[server] = _Reviewed(names, frozenset(disabled), held)
        return tools if len(passed) == len(tools) else tuple(passed)

    def gone(self, server: str) -> None:
        """It is not connected to any more, nor will be."""
        self._reviewed.pop(server, None)

    def counts(self, server: str) -> Counts:
        reviewed = self._reviewed.get(server, _NOTHING)
        return Counts(len(reviewed.admitted), len(reviewed.disabled), len(reviewed.held))

    def standing(self, server: str, tool: str) -> Standing:
        """Why this tool is or is not there, as far as it is decided here."""
        reviewed = self._reviewed.get(server)
        if reviewed is None:
            return Standing.UNKNOWN
        if tool in reviewed.admitted:
            return Standing.OFFERED
        if tool in reviewed.disabled:
            return Standing.DISABLED
        if tool in reviewed.held:
            changed = reviewed.held[tool].reason is Held.CHANGED
            return Standing.HELD_CHANGED if changed else Standing.HELD_NEW
        return Standing.ABSENT

    async def held(self, server: str | None = None) -> Sequence[HeldTool]:
        """All that waits, with what it was before. Raises StoreError."""
        waiting = list(self._waiting(server))
        texts = await self._approvals.texts() if waiting else {}
        return [
            HeldTool(
                server=of_server,
                tool=each.tool.name,
                reason=each.reason,
                digest=each.digest,
                before=texts.get((of_server, each.tool.name), b""),
                definition=each.text,
            )
            for of_server, each in waiting
        ]

    async def approve(self, server: str, digests: Sequence[tuple[str, str]]) -> None:
        """A person approved of these definitions, by tool and digest; durable when it returns.

        Raises UnknownTool when one of them does not wait, NotReady when it is another definition
        by now, StoreError. Then none is approved.
        """
        held = self._reviewed.get(server, _NOTHING).held
        now = self._clock.now()
        made: list[Approval] = []
        for tool, wanted in digests:
            waiting = held.get(tool)
            if waiting is None:
                raise UnknownTool(
                    f"{server}:{tool} does not wait for approval",
                    next_step="mcpproxy tools approve shows what does",
                )
            if waiting.digest != wanted:
                raise NotReady(
                    f"{server}:{tool} has changed again meanwhile; it was not approved",
                    next_step="mcpproxy tools approve shows it as it is now",
                )
            wire = digest(waiting.tool.definition)
            made.append(Approval(server, tool, wanted, wire, _kept(waiting.text), now))
        await self._approvals.approve(made)

    def _waiting(self, server: str | None) -> Iterator[tuple[str, _Waiting]]:
        for name in sorted(self._reviewed):
            if server in (None, name):
                for each in self._reviewed[name].held.values():
                    yield name, each

    def _review(self, server: str, tool: Tool, rules: ServerControl) -> _Waiting | None:
        """None when it may pass; what is trusted at first sight is remembered."""
        known = self._approvals.find(server, tool.name)
        wire = digest(tool.definition)
        if known is not None and known.wire_digest == wire:
            return None
        text = canonical(tool.definition)
        made = digest(text)
        if known is not None and known.digest == made:
            self._approvals.note_wire(server, tool.name, wire)
            return None
        room = self._approvals.has_room(server, tool.name)
        is_off = rules.approval is ToolApproval.OFF
        if room and (is_off or (known is None and rules.approval is ToolApproval.CHANGED)):
            seen = (made, wire, _kept(text), self._clock.now(), Trust.FIRST_SIGHT)
            self._approvals.trust(Approval(server, tool.name, *seen))
            return None
        if is_off:
            return None
        return _Waiting(tool, Held.CHANGED if known is not None else Held.NEW, made, text)
