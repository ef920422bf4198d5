"""Mode retrieve_tools, the default: a handful of built-in tools that find and call all others.

Law: what a caller may not call it does not find either; a variant of call_tool carries out what
its name says and nothing stronger.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.core.health import Health
from mcpproxy.gateway.access import Caller, may_reach
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import Catalog, Entry
from mcpproxy.gateway.dispatch import Dispatch, tool_error, unknown_tool
from mcpproxy.gateway.modes.builtin import (
    CALL_TOOLS,
    CALL_WITH,
    DEFAULT_LIMIT,
    DEFINITION_OF,
    MAX_DESCRIBED,
    MAX_LIMIT,
    PERMIT_OF,
)
from mcpproxy.gateway.modes.mode import text_error, text_result, tool_list
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.search.index import ToolIndex
from mcpproxy.gateway.text import short
from mcpproxy.gateway.tools import Effect
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

HealthOf = Callable[[str], Health]
"""The health of a server as every surface shows it."""

_STRENGTH: Final = {Effect.READ: 0, Effect.WRITE: 1, Effect.DESTRUCTIVE: 2}
_EMPTY: Final = Raw(b"{}")


class _Query(msgspec.Struct):
    query: str
    limit: int = DEFAULT_LIMIT


class _Names(msgspec.Struct):
    names: list[str]


class _CallArguments(msgspec.Struct):
    name: str
    args: Raw = _EMPTY
    args_json: str | None = None


class RetrieveMode:
    name = "retrieve_tools"
    instructions = (
        "Tools of several servers are behind this one. Find them with retrieve_tools, then call "
        "them with the call_tool variant that it names."
    )
    changes = False

    def __init__(
        self,
        catalog: Catalog,
        index: ToolIndex,
        dispatch: Dispatch,
        pool: Pool,
        health: HealthOf,
    ) -> None:
        self._catalog = catalog
        self._index = index
        self._dispatch = dispatch
        self._pool = pool
        self._health = health
        self._builtin: Mapping[str, Callable[[Caller, Raw], Members]] = {
            "retrieve_tools": self._retrieve,
            "describe_tool": self._describe,
            "upstream_servers": self._servers,
        }

    async def tools(self, ask: Ask) -> Members:
        permits = ask.caller.permits
        shown = [DEFINITION_OF[name] for name in DEFINITION_OF if PERMIT_OF[name] in permits]
        return jsonrpc.result(tool_list(shown))

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        await self._dispatch.tell(caller, method, params)

    def definition(self, caller: Caller, name: str) -> bytes | None:
        return None  # no built-in tool wants its arguments in headers

    async def call(self, ask: Ask, name: str) -> Members:
        if PERMIT_OF.get(name) not in ask.caller.permits:
            return unknown_tool(name)
        arguments = ask.params.get("arguments", _EMPTY)
        try:
            if name in CALL_TOOLS:
                return await self._call(ask, CALL_TOOLS[name], arguments)
            return self._builtin[name](ask.caller, arguments)
        except (msgspec.DecodeError, RecursionError, ProtocolError) as error:
            return text_error(f"{name}: {short(str(error))}. Its inputSchema says what it takes.")

    async def _call(self, ask: Ask, allowed: Effect, arguments: Raw) -> Members:
        asked = msgspec.json.decode(arguments, type=_CallArguments)
        try:
            entry = await self._dispatch.find(ask.caller, asked.name)
        except McpproxyError as error:
            return tool_error(error, asked.name.partition(":")[0])
        if entry is None:
            return text_error(
                f"There is no tool {short(asked.name)!r}. Names are server:tool; find them with "
                "retrieve_tools."
            )
        if _STRENGTH[entry.tool.effect] > _STRENGTH[allowed]:
            return text_error(f"{entry.id} must be called with {CALL_WITH[entry.tool.effect]}.")
        given = asked.args if asked.args_json is None else Raw(asked.args_json.encode())
        jsonrpc.members(given)
        params = {**ask.params, "arguments": given}
        return await self._dispatch.call(ask, entry, params)

    def _retrieve(self, caller: Caller, arguments: Raw) -> Members:
        asked = msgspec.json.decode(arguments, type=_Query)
        limit = min(max(asked.limit, 1), MAX_LIMIT)
        found: list[Raw] = []
        for entry, score in self.search(asked.query, len(self._catalog)):
            if self._dispatch.allows(caller, entry):
                found.append(_described(entry, score))
                if len(found) == limit:
                    break
        return text_result(jsonrpc.encode({"tools": found}).decode())

    def search(self, query: str, limit: int) -> list[tuple[Entry, float]]:
        """Tools and scores, best first, whoever may call them."""
        return self._index.search(query, limit)

    def _describe(self, caller: Caller, arguments: Raw) -> Members:
        names = msgspec.json.decode(arguments, type=_Names).names[:MAX_DESCRIBED]
        entries = {name: self._find(caller, name) for name in names}
        answer = {
            "tools": [_described(entry) for entry in entries.values() if entry is not None],
            "unknown": [short(name) for name, entry in entries.items() if entry is None],
        }
        return text_result(jsonrpc.encode(answer).decode())

    def _servers(self, caller: Caller, arguments: Raw) -> Members:
        servers = [
            {"name": live.name, "tools": len(live.offer.tools), **_shown(self._health(live.name))}
            for live in sorted(self._pool, key=lambda live: live.name)
            if may_reach(caller, live.upstream)
        ]
        return text_result(jsonrpc.encode({"servers": servers}).decode())

    def _find(self, caller: Caller, name: str) -> Entry | None:
        entry = self._catalog.find(name)
        return entry if entry is not None and self._dispatch.allows(caller, entry) else None


def _described(entry: Entry, score: float | None = None) -> Raw:
    """A tool's own definition, under `server:tool`, with the way to call it."""
    shown = jsonrpc.members(entry.tool.definition)
    shown["name"] = jsonrpc.raw(entry.id)
    shown["call_with"] = jsonrpc.raw(CALL_WITH[entry.tool.effect])
    if score is not None:
        shown["score"] = jsonrpc.raw(score)
    return jsonrpc.raw(shown)


def _shown(health: Health) -> dict[str, str]:
    return {
        "status": health.status,
        "level": health.level.value,
        "summary": health.summary,
        "detail": health.detail,
        "action": health.action,
    }
