"""The face of one upstream alone: its names, its capabilities, whatever methods it has.

Law: what passes here is what the upstream says, to the letter; an item that no client could read
is left out of its list, and what the caller may not have is not there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller, Permit, may_call, may_read
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.dispatch import Dispatch, rpc_error
from mcpproxy.gateway.faces import method_not_found
from mcpproxy.gateway.hub import News
from mcpproxy.gateway.items import Hidden
from mcpproxy.gateway.modes.mode import tool_list
from mcpproxy.gateway.offers import READER_OF
from mcpproxy.gateway.subscriptions import Subscriptions, Wish
from mcpproxy.gateway.task_owners import LIST, METHODS, RESULT, TaskOwners
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wanted_levels import WantedLevels
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_PONG: Final = b"{}"
_TASK: Final = "tasks/"
# What only reads, by the protocol. Of any other method nobody knows what it does.
_READING: Final = frozenset(
    {
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        *METHODS,
    }
)
# The endpoint answers these, or nobody does.
_NEVER: Final = frozenset({"initialize", "server/discover", "subscriptions/listen"})
_WORKING: Final = frozenset({Permit.READ, Permit.WRITE, Permit.DESTRUCTIVE})
# Capabilities of a caller who has nothing but tools.
_OF_TOOLS: Final = ("tools", "tasks", "extensions", "experimental")
_decode_array: Final = msgspec.json.Decoder(list[Raw]).decode


@dataclass(frozen=True, slots=True)
class Shared:
    """What the faces of all single upstreams share."""

    dispatch: Dispatch
    subscriptions: Subscriptions
    levels: WantedLevels
    tasks: TaskOwners
    task_wait: timedelta


class Single:
    """It is a `Face`."""

    changes = True

    def __init__(self, live: Callable[[], LiveUpstream], server: str, shared: Shared) -> None:
        self.server = server
        self._live = live
        self._dispatch = shared.dispatch
        self._subscriptions = shared.subscriptions
        self._levels = shared.levels
        self._tasks = shared.tasks
        self._task_wait = shared.task_wait

    async def introduction(self, caller: Caller, era: Era) -> Members:
        live = self._live()
        agreed = await live.introduced()
        shown = {name: value for name, value in agreed.result.items() if name != "protocolVersion"}
        if not may_read(caller, live.upstream):
            kept = {name: agreed.capabilities.get(name) for name in _OF_TOOLS}
            declared = {name: value for name, value in kept.items() if value is not None}
            shown["capabilities"] = jsonrpc.raw(declared)
        return shown

    async def answer(self, ask: Ask) -> Members:
        try:
            live = self._live()
            if ask.method == "ping":
                return jsonrpc.result(_PONG)
            if ask.method == "tools/list":
                await live.introduced()
                return jsonrpc.result(self._tools(live, ask.caller))
            if ask.method == "tools/call":
                return await self._call(live, ask)
            if ask.method.startswith(_TASK):
                return await self._task(live, ask)
            if not _may_ask(ask, live):
                self._dispatch.turns.denied_item(ask, live.name)
                return method_not_found(ask.method)
            return await self._pass(live, ask)
        except McpproxyError as error:
            return await self._again(ask, error)

    async def _again(self, ask: Ask, error: McpproxyError) -> Members:
        """The request once more if the person has logged in because of its error."""
        try:
            await self._dispatch.after_login(self.server, ask, error)
        except McpproxyError as why:
            return rpc_error(why, self.server)
        return await self.answer(ask)

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        await self._dispatch.tell(caller, method, params, self.server)

    def definition(self, caller: Caller, tool: str) -> bytes | None:
        entry = self._dispatch.entry(caller, f"{self.server}:{tool}")
        return None if entry is None else entry.tool.definition

    def shown(self, news: News) -> News | None:
        return news if news.server == self.server else None

    # --- tools ------------------------------------------------------------------------------

    async def _call(self, live: LiveUpstream, ask: Ask) -> Members:
        name = jsonrpc.text(ask.params.get("name")) or ""
        tool = self._dispatch.admitted(live.name, name)
        if tool is None or not may_call(ask.caller, live.upstream, tool):
            return self._dispatch.denied(ask, live.name, name)
        response = await self._dispatch.carry(live, tool.name, ask, ask.params)
        if "task" in ask.params or _is_modern(ask.client):
            self._tasks.made(ask.caller, live.name, tool, response)
        return response

    def _tools(self, live: LiveUpstream, caller: Caller) -> bytes:
        tools = self._dispatch.all_admitted(live.name)
        return tool_list([t.definition for t in tools if may_call(caller, live.upstream, t)])

    async def _task(self, live: LiveUpstream, ask: Ask) -> Members:
        if ask.method not in _READING:
            return method_not_found(ask.method)
        if ask.method == LIST:
            return self._tasks.seen(ask.caller, live.name, await self._asked(live, ask))
        if not self._tasks.may_see(ask.caller, live.name, ask.params):
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, "Task not found")
        if ask.method == RESULT:
            return await self._dispatch.turns.request(live, ask, ask.params, self._task_wait)
        return await self._asked(live, ask)

    # --- everything else --------------------------------------------------------------------

    async def _pass(self, live: LiveUpstream, ask: Ask) -> Members:
        client, uri = ask.client, jsonrpc.text(ask.params.get("uri"))
        level = jsonrpc.text(ask.params.get("level"))
        match ask.method:
            case "resources/subscribe" if client is not None and uri is not None:
                return await self._subscriptions.subscribe(Wish(client.key, live.name, uri, uri))
            case "resources/unsubscribe" if client is not None and uri is not None:
                return await self._subscriptions.unsubscribe(Wish(client.key, live.name, uri, uri))
            case "logging/setLevel" if client is not None and level is not None:
                return await self._levels.set(client.key, live.name, level)
            case method if method in READER_OF:
                return _readable(method, await self._asked(live, ask))
            case _:
                return await self._asked(live, ask)

    async def _asked(self, live: LiveUpstream, ask: Ask) -> Members:
        return await self._dispatch.turns.request(live, ask, ask.params)


def _may_ask(ask: Ask, live: LiveUpstream) -> bool:
    """Whether this method, which is no tool's, exists for the caller."""
    if ask.method in _NEVER or not may_read(ask.caller, live.upstream):
        return False
    return ask.method in _READING or ask.caller.permits >= _WORKING


def _is_modern(client: Client | None) -> bool:
    return client is not None and client.era is Era.MODERN


def _readable(method: str, response: Members) -> Members:
    """The list without what no client could read; as it is when there is no such thing in it."""
    member, read = READER_OF[method]
    try:
        result = jsonrpc.members(response.get("result"))
        listed = _decode_array(result[member])
    except (ProtocolError, KeyError, msgspec.DecodeError, RecursionError):
        return response
    shown = [item for item in listed if not isinstance(read(item), Hidden)]
    if len(shown) == len(listed):
        return response
    result[member] = jsonrpc.raw(shown)
    return {**response, "result": jsonrpc.raw(result)}
