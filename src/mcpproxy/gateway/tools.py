"""One upstream's tools, as it lists them.

Law: a definition passes untouched; one that a client could not read hides itself, not the list.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from mcpproxy.gateway.items import UNREADABLE, Hidden, Kind, hidden, whole

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


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of an upstream. `definition` is its JSON as it came."""

    name: str
    description: str
    effect: Effect
    definition: bytes


def read_tool(definition: Raw) -> Tool | Hidden:
    """The tool, or why it is hidden."""
    try:
        shape = _decode_shape(whole(definition))
    except UNREADABLE as error:
        return hidden(Kind.TOOLS, "name", definition, error)
    return Tool(
        name=shape.name,
        description=shape.description or "",
        effect=_effect(shape.annotations),
        definition=bytes(definition),
    )


def _effect(annotations: _Annotations | None) -> Effect:
    if annotations is None:
        return Effect.DESTRUCTIVE
    if annotations.readOnlyHint:
        return Effect.READ
    return Effect.WRITE if annotations.destructiveHint is False else Effect.DESTRUCTIVE
