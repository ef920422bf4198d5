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
from mcpproxy.gateway.dispatch import Dispatch, tool_error, unknown_tool
from mcpproxy.gateway.modes.builtin import (
    CALL_TOOLS,
    CALL_WITH,
    DEFINITION_OF,
    PERMIT_OF,
    READ_CACHE,
)
from mcpproxy.gateway.modes.finder import Finder
from mcpproxy.gateway.modes.mode import text_error, text_result, tool_list
from mcpproxy.gateway.modes.results import Results
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.text import short
from mcpproxy.gateway.tools import Effect
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

HealthOf = Callable[[str], Health]
"""The health of a server as every surface shows it."""

_STRENGTH: Final = {Effect.READ: 0, Effect.WRITE: 1, Effect.DESTRUCTIVE: 2}
_EMPTY: Final = Raw(b"{}")


class _Reading(msgspec.Struct):
    key: str
    offset: int = 0
    limit: int | None = None


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
        self, finder: Finder, dispatch: Dispatch, pool: Pool, results: Results, health: HealthOf
    ) -> None:
        self._finder = finder
        self._dispatch = dispatch
        self._pool = pool
        self._results = results
        self._health = health
        self._builtin: Mapping[str, Callable[[Caller, Raw], Members]] = {
            "describe_tool": finder.describe,
            READ_CACHE: self._read,
            "upstream_servers": self._servers,
        }

    async def tools(self, ask: Ask) -> Members:
        shown = [made for name, made in DEFINITION_OF.items() if self._has(ask.caller, name)]
        return jsonrpc.result(tool_list(shown))

    def _has(self, caller: Caller, name: str) -> bool:
        if PERMIT_OF.get(name) not in caller.permits:
            return False
        return name != READ_CACHE or self._results.limit > 0

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        await self._dispatch.tell(caller, method, params)

    def definition(self, caller: Caller, name: str) -> bytes | None:
        return None  # no built-in tool wants its arguments in headers

    async def call(self, ask: Ask, name: str) -> Members:
        if not self._has(ask.caller, name):
            return unknown_tool(name)
        arguments = ask.params.get("arguments", _EMPTY)
        try:
            if name in CALL_TOOLS:
                return await self._call(ask, CALL_TOOLS[name], arguments)
            if name == "retrieve_tools":
                return await self._finder.retrieve(ask.caller, arguments)
            return self._builtin[name](ask.caller, arguments)
        except (msgspec.DecodeError, RecursionError, ProtocolError) as error:
            return text_error(f"{name}: {short(str(error))}. Its inputSchema says what it takes.")

    async def _call(self, ask: Ask, allowed: Effect, arguments: Raw) -> Members:
        asked = msgspec.json.decode(arguments, type=_CallArguments)
        try:
            entry = await self._dispatch.find(ask.caller, asked.name, ask)
        except McpproxyError as error:
            return tool_error(error, asked.name.partition(":")[0])
        if entry is None:
            self._dispatch.tell_denied(ask, "", asked.name)
            return text_error(
                f"There is no tool {short(asked.name)!r}. Names are server:tool; find them with "
                "retrieve_tools."
            )
        if _STRENGTH[entry.tool.effect] > _STRENGTH[allowed]:
            return text_error(f"{entry.id} must be called with {CALL_WITH[entry.tool.effect]}.")
        given = asked.args if asked.args_json is None else Raw(asked.args_json.encode())
        jsonrpc.members(given)
        params = {**ask.params, "arguments": given}
        response = await self._dispatch.call(ask, entry, params)
        return self._results.fitted(ask.caller, response)

    def _read(self, caller: Caller, arguments: Raw) -> Members:
        asked = msgspec.json.decode(arguments, type=_Reading)
        return self._results.read(caller, asked.key, asked.offset, asked.limit)

    def _servers(self, caller: Caller, arguments: Raw) -> Members:
        servers = [
            {
                "name": live.name,
                "tools": len(list(self._dispatch.all_admitted(live.name))),
                **_shown(self._health(live.name)),
            }
            for live in sorted(self._pool, key=lambda live: live.name)
            if may_reach(caller, live.upstream)
        ]
        return text_result(jsonrpc.encode({"servers": servers}).decode())


def _shown(health: Health) -> dict[str, str]:
    return {
        "status": health.status,
        "level": health.level.value,
        "summary": health.summary,
        "detail": health.detail,
        "action": health.action,
    }
