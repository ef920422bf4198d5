"""The built-in tools that find and describe tools.

Law: what a caller may not call it does not find either; an answer costs few tokens, and says in
its `_meta` how many, beside those of listing everything.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from msgspec import Raw

from mcpproxy.core.notices import ToolsRetrieved
from mcpproxy.core.ports import Publisher
from mcpproxy.gateway.access import Caller, may_reach
from mcpproxy.gateway.catalog import Catalog, Entry
from mcpproxy.gateway.dispatch import Dispatch
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.modes.builtin import CALL_WITH, MAX_DESCRIBED, MAX_LIMIT
from mcpproxy.gateway.modes.compact import compact, tokens
from mcpproxy.gateway.modes.mode import text_result
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.search.index import ToolIndex
from mcpproxy.gateway.text import short
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

TOKENS: Final = "mcpproxy/tokens"
# Sizes of whole lists are remembered for so many kinds of callers.
_MAX_SIZES: Final = 64
_NOTHING: Final = "No tool has any of these words. Try others."
# Names of servers whose tools are not known.
_MAX_NAMED: Final = 5


class _Query(msgspec.Struct):
    query: str
    limit: int | None = None
    detail: Literal["compact", "full"] = "compact"


class _Names(msgspec.Struct):
    names: list[str]


class Finder:
    """Finds tools for callers, and for whoever asks on behalf of the owner."""

    def __init__(
        self,
        catalog: Catalog,
        index: ToolIndex,
        dispatch: Dispatch,
        pool: Pool,
        publisher: Publisher,
        limits: GatewayLimits,
    ) -> None:
        self._catalog = catalog
        self._index = index
        self._dispatch = dispatch
        self._pool = pool
        self._publisher = publisher
        self._limits = limits
        self._sizes: dict[Caller, int] = {}
        self._revision = -1

    async def search(self, query: str, limit: int) -> list[tuple[Entry, float]]:
        """Tools and scores, best first, whoever may call them."""
        await self._index.settle()
        return self._index.search(query, limit, self._is_offered)

    async def retrieve(self, caller: Caller, arguments: Raw) -> Members:
        asked = msgspec.json.decode(arguments, type=_Query)
        wanted = self._limits.tools_limit if asked.limit is None else asked.limit
        await self._dispatch.tried()
        await self._index.settle()
        found = self._index.search(
            asked.query, min(max(wanted, 1), MAX_LIMIT), lambda entry: self._allows(caller, entry)
        )
        whole = MAX_DESCRIBED if asked.detail == "full" else 0
        shown = [
            described(entry) if at < whole else compact(entry)
            for at, (entry, _) in enumerate(found)
        ]
        answer: dict[str, object] = {"tools": shown}
        if hints := [*([] if shown else [_NOTHING]), *self._unknown(caller)]:
            answer["hint"] = " ".join(hints)
        text = jsonrpc.encode(answer)
        spent, everything = tokens(len(text)), tokens(self._size_of_all(caller))
        self._publisher.publish(ToolsRetrieved(len(shown), spent, everything))
        return text_result(text.decode(), meta={TOKENS: {"answer": spent, "all_tools": everything}})

    def describe(self, caller: Caller, arguments: Raw) -> Members:
        names = msgspec.json.decode(arguments, type=_Names).names[:MAX_DESCRIBED]
        entries = {name: self._dispatch.entry(caller, name) for name in names}
        answer = {
            "tools": [described(entry) for entry in entries.values() if entry is not None],
            "unknown": [short(name) for name, entry in entries.items() if entry is None],
        }
        return text_result(jsonrpc.encode(answer).decode())

    def _unknown(self, caller: Caller) -> Iterator[str]:
        """Which servers have tools that nobody could find: what is wanted may be theirs."""
        names = [
            live.name
            for live in self._pool
            if not live.is_offered and may_reach(caller, live.upstream)
        ]
        if names:
            more = ", ..." if len(names) > _MAX_NAMED else ""
            yield (
                f"Not connected yet, so their tools are not known: "
                f"{', '.join(sorted(names)[:_MAX_NAMED])}{more}. upstream_servers says why."
            )

    def _is_offered(self, entry: Entry) -> bool:
        """Two tools may have one name; only one of them is in the catalog under it."""
        return self._catalog.find(entry.id) is not None

    def _allows(self, caller: Caller, entry: Entry) -> bool:
        return self._is_offered(entry) and self._dispatch.allows(caller, entry)

    def _size_of_all(self, caller: Caller) -> int:
        """Bytes of the definitions of all tools that this caller could list."""
        if self._revision != self._catalog.revision or len(self._sizes) >= _MAX_SIZES:
            self._revision, self._sizes = self._catalog.revision, {}
        known = self._sizes.get(caller)
        if known is None:
            mine = (
                self._catalog
                if caller.unlimited
                else (entry for entry in self._catalog if self._dispatch.allows(caller, entry))
            )
            known = self._sizes[caller] = sum(len(entry.definition) for entry in mine)
        return known


def described(entry: Entry) -> Raw:
    """A tool's own definition, under `server:tool`, with the way to call it."""
    shown = jsonrpc.members(entry.tool.definition)
    shown["name"] = jsonrpc.raw(entry.id)
    shown["call_with"] = jsonrpc.raw(CALL_WITH[entry.tool.effect])
    return jsonrpc.raw(shown)
