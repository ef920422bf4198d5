"""What one upstream offers, as its lists say.

Law: a list that is refused, endless or broken costs what is on it and nothing else; only the
tools are waited for by whoever connects.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.items import (
    Hidden,
    Item,
    Kind,
    read_prompt,
    read_resource,
    read_template,
)
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.text import short
from mcpproxy.gateway.tools import Tool, read_tool
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.eras import MODERN_VERSIONS
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members
from mcpproxy.gateway.wire.param_headers import InvalidAnnotation, param_headers

Request = Callable[[Call], Awaitable[Members]]
"""Sends a request to the upstream. Raises McpproxyError."""

T = TypeVar("T", bound="Tool | Item")

_decode_array: Final = msgspec.json.Decoder(list[Raw]).decode


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """One kind of it."""

    kind: Kind
    items: tuple[T, ...] = ()
    hidden: tuple[Hidden, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """All of it, and why some of it is hidden. Of the kinds that are not in `listed` nothing is
    known yet.
    """

    tools: tuple[Tool, ...] = ()
    resources: tuple[Item, ...] = ()
    templates: tuple[Item, ...] = ()
    prompts: tuple[Item, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    listed: frozenset[Kind] = frozenset()

    def having(self, listed: Listed[Tool] | Listed[Item]) -> "Offer":
        """The same with what a list says now; `hidden` is left as it is."""
        changed: dict[str, Any] = {listed.kind.value: listed.items}
        return replace(self, listed=self.listed | {listed.kind}, **changed)


NOTHING: Final = Offer(listed=frozenset(Kind))
"""What an upstream offers that is not there any more."""


@dataclass(frozen=True, slots=True)
class _List(Generic[T]):
    """How a kind is listed: the method, the member of its result, who declares and reads it."""

    kind: Kind
    method: str
    member: str
    capability: str
    read: Callable[[Raw], T | Hidden]


_TOOLS: Final = _List(Kind.TOOLS, "tools/list", "tools", "tools", read_tool)
_OTHERS: Final = {
    Kind.RESOURCES: _List(
        Kind.RESOURCES, "resources/list", "resources", "resources", read_resource
    ),
    Kind.TEMPLATES: _List(
        Kind.TEMPLATES,
        "resources/templates/list",
        "resourceTemplates",
        "resources",
        read_template,
    ),
    Kind.PROMPTS: _List(Kind.PROMPTS, "prompts/list", "prompts", "prompts", read_prompt),
}
READER_OF: Final = {entry.method: (entry.member, entry.read) for entry in _OTHERS.values()}
"""By method: the member of the result that is the list, and what reads an item of it."""


async def list_tools(request: Request, agreed: Agreed, limits: GatewayLimits) -> Listed[Tool]:
    """Raises LinkFailed, ProtocolError."""
    listed = await _listed(_TOOLS, request, agreed, limits)
    return _callable(listed) if agreed.version in MODERN_VERSIONS else listed


def _callable(listed: Listed[Tool]) -> Listed[Tool]:
    """Those that a call can be made of to the letter (2026-07-28, "Custom Headers")."""
    able: list[Tool] = []
    hidden = list(listed.hidden)
    for tool in listed.items:
        try:
            param_headers(tool.definition)
            able.append(tool)
        except InvalidAnnotation as reason:
            hidden.append(Hidden(Kind.TOOLS, short(tool.name), short(str(reason))))
    return Listed(Kind.TOOLS, tuple(able), tuple(hidden))


async def list_items(
    kind: Kind, request: Request, agreed: Agreed, limits: GatewayLimits
) -> Listed[Item]:
    """Resources, templates or prompts. Raises LinkFailed, ProtocolError."""
    return await _listed(_OTHERS[kind], request, agreed, limits)


async def _listed(
    asked: _List[T], request: Request, agreed: Agreed, limits: GatewayLimits
) -> Listed[T]:
    if not agreed.has(asked.capability):
        return Listed(asked.kind)
    found = _Found(asked, limits)
    cursor: Raw | None = None
    for _ in range(limits.max_pages):
        params: Members | None = None if cursor is None else {"cursor": cursor}
        response = await request(Call(asked.method, params))
        error = jsonrpc.error_of(response)
        if error is not None:
            # Many declare what they do not have, or have only a part of it.
            if error.code == jsonrpc.METHOD_NOT_FOUND:
                break
            raise ProtocolError(f"{asked.method} was refused: {short(error.message)}")
        page = jsonrpc.members(response.get("result"))
        room = found.take(_array(asked, page.get(asked.member)))
        following = page.get("nextCursor")
        if jsonrpc.is_null(following) or following == cursor or not room:
            break
        cursor = following
    else:
        found.cut_off(f"only the first {limits.max_pages} pages are taken")
    return found.listed()


class _Found(Generic[T]):
    """What the pages of one list bring together, within bounds."""

    def __init__(self, asked: _List[T], limits: GatewayLimits) -> None:
        self._asked = asked
        self._limits = limits
        self._items: dict[str, T] = {}
        self._hidden: list[Hidden] = []
        self._size = 0

    def take(self, definitions: list[Raw]) -> bool:
        """Whether there is room for more."""
        for definition in definitions:
            self._size += memoryview(definition).nbytes
            if len(self._items) >= self._limits.max_items:
                self.cut_off(f"only the first {self._limits.max_items} are taken")
                return False
            if self._size > self._limits.max_listing:
                self.cut_off(f"only the first {self._limits.max_listing} bytes are taken")
                return False
            self._add(definition)
        return True

    def cut_off(self, reason: str) -> None:
        self._hide(Hidden(self._asked.kind, "the rest", reason))

    def listed(self) -> Listed[T]:
        return Listed(self._asked.kind, tuple(self._items.values()), tuple(self._hidden))

    def _add(self, definition: Raw) -> None:
        item = self._asked.read(definition)
        if isinstance(item, Hidden):
            return self._hide(item)
        known = self._items.setdefault(item.name, item)
        if known.definition != item.definition:
            self._hide(Hidden(self._asked.kind, short(item.name), "listed twice"))

    def _hide(self, hidden: Hidden) -> None:
        if len(self._hidden) < self._limits.max_hidden:
            self._hidden.append(hidden)


def _array(asked: _List[T], raw: Raw | None) -> list[Raw]:
    try:
        return _decode_array(raw or b"")
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"{asked.method} answered without a list of {asked.member}") from error
