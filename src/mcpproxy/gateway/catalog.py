"""The tools of all upstreams under the names that clients see.

Law: a name depends on its server and tool only, so it is stable whatever else comes and goes; it
leads back by a table, never by parsing.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

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


class Catalog:
    """Entries by the name clients see and by `server:tool`. `revision` grows with every change."""

    def __init__(self) -> None:
        self._by_server: dict[str, tuple[Entry, ...]] = {}
        self._by_name: dict[str, Entry] = {}
        self._by_id: dict[str, Entry] = {}
        self.revision = 0

    def __iter__(self) -> Iterator[Entry]:
        """All entries, in the order of their names."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def replace(self, server: str, tools: tuple[Tool, ...]) -> bool:
        """Put what a server offers now; whether that is anything new."""
        if tools == tuple(entry.tool for entry in self._by_server.get(server, ())):
            return False
        self._by_server[server] = tuple(_entry(server, tool) for tool in tools)
        if not tools:
            del self._by_server[server]
        self._index()
        return True

    def find(self, name: str) -> Entry | None:
        """By the name clients see, or by `server:tool`."""
        return self._by_name.get(name) or self._by_id.get(name)

    def of(self, server: str) -> tuple[Entry, ...]:
        return self._by_server.get(server, ())

    def _index(self) -> None:
        self.revision += 1
        entries = [entry for server in sorted(self._by_server) for entry in self._by_server[server]]
        entries.sort(key=lambda entry: (entry.name, entry.id))
        self._by_name = {}
        for entry in entries:
            # Two tools under one name need a collision of digests; the first keeps it.
            self._by_name.setdefault(entry.name, entry)
        self._by_id = {entry.id: entry for entry in self._by_name.values()}


def _entry(server: str, tool: Tool) -> Entry:
    name = exposed_name(server, tool.name)
    members = jsonrpc.members(tool.definition)
    members["name"] = jsonrpc.raw(name)
    return Entry(server, tool, name, jsonrpc.encode(members))
