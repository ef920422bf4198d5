"""Resources, resource templates and prompts, each as its upstream lists it.

Law: as with tools, a definition passes untouched, and one that a client could not read hides
itself, not the list.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.text import short
from mcpproxy.gateway.wire import jsonrpc

# Longer ones no client passes on, and a URI of this length is still a header line.
MAX_URI: Final = 2048
_Object = dict[str, Raw]


class Kind(StrEnum):
    """What can be listed."""

    TOOLS = "tools"
    RESOURCES = "resources"
    TEMPLATES = "templates"
    PROMPTS = "prompts"


@dataclass(frozen=True, slots=True)
class Item:
    """One resource, template or prompt. `name` is its URI, URI template or name: what it is asked
    for by. `definition` is its JSON as it came.
    """

    name: str
    definition: bytes


@dataclass(frozen=True, slots=True)
class Hidden:
    """Something listed that is not shown, and why."""

    kind: Kind
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{_SINGULAR[self.kind]} {self.name}: {self.reason}"


_SINGULAR: Final = {
    Kind.TOOLS: "tool",
    Kind.RESOURCES: "resource",
    Kind.TEMPLATES: "template",
    Kind.PROMPTS: "prompt",
}


class _Annotations(msgspec.Struct):
    audience: list[Literal["user", "assistant"]] | None = None
    priority: Annotated[float, Meta(ge=0, le=1)] | None = None
    lastModified: str | None = None


class _Icon(msgspec.Struct):
    src: str


class _Described(msgspec.Struct, rename={"meta": "_meta"}, kw_only=True):
    """What a client's own model of any of them demands; a violation would fail its whole list."""

    name: str
    title: str | None = None
    description: str | None = None
    icons: list[_Icon] | None = None
    meta: _Object | None = None


class _Resource(_Described, kw_only=True):
    uri: Annotated[str, Meta(min_length=1, max_length=MAX_URI)]
    mimeType: str | None = None
    size: float | None = None
    annotations: _Annotations | None = None


class _Template(_Described, kw_only=True):
    uriTemplate: Annotated[str, Meta(min_length=1, max_length=MAX_URI)]
    mimeType: str | None = None
    annotations: _Annotations | None = None


class _Argument(msgspec.Struct):
    name: str
    title: str | None = None
    description: str | None = None
    required: bool | None = None


class _Prompt(_Described, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    arguments: list[_Argument] | None = None


Reader = Callable[[Raw], "Item | Hidden"]
"""Reads a definition, or says why it is hidden."""


def read_resource(definition: Raw) -> Item | Hidden:
    try:
        return Item(_decode_resource(whole(definition)).uri, bytes(definition))
    except UNREADABLE as error:
        return hidden(Kind.RESOURCES, "uri", definition, error)


def read_template(definition: Raw) -> Item | Hidden:
    try:
        return Item(_decode_template(whole(definition)).uriTemplate, bytes(definition))
    except UNREADABLE as error:
        return hidden(Kind.TEMPLATES, "uriTemplate", definition, error)


def read_prompt(definition: Raw) -> Item | Hidden:
    try:
        return Item(_decode_prompt(whole(definition)).name, bytes(definition))
    except UNREADABLE as error:
        return hidden(Kind.PROMPTS, "name", definition, error)


UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding raises of something that cannot be read."""


def whole(definition: Raw) -> Raw:
    """The same; decoded once all through, so that nothing unreadable hides deeper in it."""
    msgspec.json.decode(definition, type=Any)
    return definition


def hidden(kind: Kind, member: str, definition: Raw, error: Exception) -> Hidden:
    return Hidden(kind, _name_of(member, definition), short(str(error)))


def _name_of(member: str, definition: Raw) -> str:
    try:
        name = jsonrpc.text(jsonrpc.members(definition).get(member))
    except ProtocolError:
        return "that is no object"
    return short(name) if name else f"without a {member}"


_decode_resource: Final = msgspec.json.Decoder(_Resource).decode
_decode_template: Final = msgspec.json.Decoder(_Template).decode
_decode_prompt: Final = msgspec.json.Decoder(_Prompt).decode
