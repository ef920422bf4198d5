"""One upstream's tools, as it lists them.

Law: a definition passes untouched; one that a client could not read hides itself, not the list.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.text import short
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

Object = dict[str, Raw]


class Effect(StrEnum):
    """What a tool may do, by its annotations; without any the protocol assumes the worst."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


class _Annotations(msgspec.Struct):
    title: str | None = None
    readOnlyHint: bool | None = None
    destructiveHint: bool | None = None
    idempotentHint: bool | None = None
    openWorldHint: bool | None = None


class _Icon(msgspec.Struct):
    src: str


class _Shape(msgspec.Struct, rename={"meta": "_meta"}):
    """What a client's own model of a tool demands; a violation would fail its whole list."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    inputSchema: Object
    title: str | None = None
    description: str | None = None
    outputSchema: Object | None = None
    annotations: _Annotations | None = None
    icons: list[_Icon] | None = None
    execution: Object | None = None
    meta: Object | None = None


_decode_shape: Final = msgspec.json.Decoder(_Shape).decode
_decode_array: Final = msgspec.json.Decoder(list[Raw]).decode


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of an upstream. `definition` is its JSON as it came."""

    name: str
    description: str
    effect: Effect
    definition: bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """What an upstream offers, and why some of it is hidden."""

    tools: tuple[Tool, ...] = ()
    hidden: tuple[str, ...] = ()


async def list_offer(
    request: Callable[[Call], Awaitable[Members]], agreed: Agreed, limits: GatewayLimits
) -> Offer:
    """All pages of tools/list. Raises LinkFailed, ProtocolError."""
    if not agreed.has("tools"):
        return Offer()
    tools: dict[str, Tool] = {}
    hidden: list[str] = []
    cursor: Raw | None = None
    for _ in range(limits.max_pages):
        params: Members | None = None if cursor is None else {"cursor": cursor}
        response = await request(Call("tools/list", params))
        error = jsonrpc.error_of(response)
        if error is not None:
            if error.code == jsonrpc.METHOD_NOT_FOUND:
                break
            raise ProtocolError(f"tools/list was refused: {short(error.message)}")
        page = jsonrpc.members(response.get("result"))
        for definition in _array(page.get("tools")):
            tool = read_tool(definition)
            if isinstance(tool, str):
                hidden.append(tool)
            elif tool.name in tools:
                hidden.append(f"{short(tool.name)}: listed twice")
            else:
                tools[tool.name] = tool
        following = page.get("nextCursor")
        if jsonrpc.is_null(following) or following == cursor:
            break
        cursor = following
    return Offer(tuple(tools.values()), tuple(hidden))


def _array(raw: Raw | None) -> list[Raw]:
    try:
        return _decode_array(raw or b"")
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError("tools/list answered without a list of tools") from error


def read_tool(definition: Raw) -> Tool | str:
    """The tool, or why it is hidden."""
    try:
        shape = _decode_shape(definition)
        # Everything is decoded once, so that nothing unreadable hides deeper in the schema.
        msgspec.json.decode(definition, type=Any)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return f"{short(_name_of(definition))}: {short(str(error))}"
    return Tool(
        name=shape.name,
        description=shape.description or "",
        effect=_effect(shape.annotations),
        definition=bytes(definition),
    )


def _name_of(definition: Raw) -> str:
    try:
        return jsonrpc.text(jsonrpc.members(definition).get("name")) or "a tool without a name"
    except ProtocolError:
        return "a tool that is no object"


def _effect(annotations: _Annotations | None) -> Effect:
    if annotations is None:
        return Effect.DESTRUCTIVE
    if annotations.readOnlyHint:
        return Effect.READ
    return Effect.WRITE if annotations.destructiveHint is False else Effect.DESTRUCTIVE
