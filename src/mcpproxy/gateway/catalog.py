"""What all upstreams offer under the names that clients see.

Law: a name depends on its server and item only, so it is stable whatever else comes and goes; it
leads back by a table, never by parsing.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from mcpproxy.gateway.addresses import address
from mcpproxy.gateway.items import Item, Kind
from mcpproxy.gateway.offers import Offer
from mcpproxy.gateway.shelf import Shelf, Shown
from mcpproxy.gateway.tools import Tool
from mcpproxy.gateway.wire import jsonrpc

SEPARATOR: Final = "__"
# What the strictest clients take: [A-Za-z0-9_-], up to 64 characters.
MAX_NAME: Final = 64
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One tool of one upstream. `name` is what clients see, `definition` has that name in it."""

    server: str
    tool: Tool
    name: str
    definition: bytes

    @property
    def id(self) -> str:
        """`server:tool`, as search results and tokens write it."""
        return f"{self.server}:{self.tool.name}"


def exposed_head(server: str) -> str:
    """What the exposed names of a server's tools begin with."""
    return f"{server}{SEPARATOR}"[:MAX_NAME]


def exposed_name(server: str, tool: str) -> str:
    """`server__tool`; with a digest of both where that would be illegal, long or ambiguous."""
    plain = f"{server}{SEPARATOR}{tool}"
    legal = _ILLEGAL.sub("_", plain)
    ambiguous = SEPARATOR in server or server.endswith("_")
    if legal == plain and len(plain) <= MAX_NAME and not ambiguous:
        return plain
    digest = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:_DIGEST]
    return f"{legal[: MAX_NAME - _DIGEST - 1]}_{digest}"


class Catalog(Shelf[Tool, Entry]):
    """Tools by the name clients see and by `server:tool`."""

    def __init__(self) -> None:
        super().__init__(_entry)
        self._by_id: dict[str, Entry] = {}

    def find(self, name: str) -> Entry | None:
        """By the name clients see, or by `server:tool`."""
        return self._by_name.get(name) or self._by_id.get(name)

    def _put(self, entry: Entry) -> None:
        super()._put(entry)
        self._by_id[entry.id] = entry

    def _drop(self, entry: Entry) -> None:
        super()._drop(entry)
        del self._by_id[entry.id]


def prompt_shelf() -> Shelf[Item, Shown]:
    """Prompts by the names that clients see: `server__prompt`, as with tools."""
    return Shelf(lambda server, item: _shown(server, item, "name", exposed_name(server, item.name)))


def resource_shelf() -> Shelf[Item, Shown]:
    return Shelf(lambda server, item: _shown(server, item, "uri", address(server, item.name)))


def template_shelf() -> Shelf[Item, Shown]:
    return Shelf(
        lambda server, item: _shown(server, item, "uriTemplate", address(server, item.name))
    )


class Stock:
    """All that all upstreams offer, a shelf for each kind."""

    def __init__(self) -> None:
        self.tools = Catalog()
        self.resources = resource_shelf()
        self.templates = template_shelf()
        self.prompts = prompt_shelf()
        self.revision = 0
        """Grows whenever a server connects, changes or goes."""

    def replace(self, server: str, offer: Offer) -> frozenset[Kind]:
        """Put what a server offers now; the kinds of which that is anything new. What it has not
        said yet, after a restart, is what it said before.
        """
        self.revision += 1
        changed: set[Kind] = set()
        for kind in offer.listed:
            match kind:
                case Kind.TOOLS:
                    is_new = self.tools.replace(server, offer.tools)
                case Kind.RESOURCES:
                    is_new = self.resources.replace(server, offer.resources)
                case Kind.TEMPLATES:
                    is_new = self.templates.replace(server, offer.templates)
                case Kind.PROMPTS:
                    is_new = self.prompts.replace(server, offer.prompts)
            if is_new:
                changed.add(kind)
        return frozenset(changed)


def _shown(server: str, item: Item, member: str, name: str) -> Shown:
    members = jsonrpc.members(item.definition)
    members[member] = jsonrpc.raw(name)
    return Shown(server, item, name, jsonrpc.encode(members))


def _entry(server: str, tool: Tool) -> Entry:
    name = exposed_name(server, tool.name)
    members = jsonrpc.members(tool.definition)
    members["name"] = jsonrpc.raw(name)
    return Entry(server, tool, name, jsonrpc.encode(members))
