"""What one endpoint shows its clients: a face; and the one of an upstream alone.

Law: a face knows methods and callers, never HTTP or sessions; it answers one request at a time.
"""

from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Raw

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.access import Caller, Permit, may_call
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.dispatch import Dispatch, rpc_error
from mcpproxy.gateway.hub import News
from mcpproxy.gateway.modes.mode import tool_list
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_PONG: Final = b"{}"
TOOLS_CHANGED: Final = "notifications/tools/list_changed"


class Face(Protocol):
    """One endpoint. `server` is the upstream it is all about, None for the aggregate."""

    @property
    def server(self) -> str | None: ...

    @property
    def changes(self) -> bool:
        """Whether what it lists may change."""
        ...

    async def introduction(self, caller: Caller) -> Members:
        """The result of initialize, without a protocol version. Raises McpproxyError."""
        ...

    async def answer(self, ask: Ask) -> Members:
        """The response to one request. Never raises McpproxyError."""
        ...

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        """A notification of a client: passed on to the upstreams behind this face."""
        ...

    def definition(self, caller: Caller, tool: str) -> bytes | None:
        """An upstream's tool as this caller finds it in the list; None when it is not there."""
        ...

    def shown(self, news: News) -> News | None:
        """What its clients hear of it, under the names they know; None: nothing."""
        ...


class Single:
    """One upstream alone: its names, its capabilities, whatever methods it has."""

    changes = True

    def __init__(self, live: Callable[[], LiveUpstream], server: str, dispatch: Dispatch) -> None:
        self.server = server
        self._live = live
        self._dispatch = dispatch

    async def introduction(self, caller: Caller) -> Members:
        agreed = await self._live().introduced()
        return {name: value for name, value in agreed.result.items() if name != "protocolVersion"}

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
            if Permit.READ not in ask.caller.permits:
                return method_not_found(ask.method)
            return await live.request(Call(ask.method, ask.params or None, ask.sink, ask.client))
        except McpproxyError as error:
            return rpc_error(error, self.server)

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        await self._dispatch.tell(caller, method, params, self.server)

    def definition(self, caller: Caller, tool: str) -> bytes | None:
        entry = self._dispatch.entry(caller, f"{self.server}:{tool}")
        return None if entry is None else entry.tool.definition

    def shown(self, news: News) -> News | None:
        return news if news.server == self.server else None

    async def _call(self, live: LiveUpstream, ask: Ask) -> Members:
        name = jsonrpc.text(ask.params.get("name")) or ""
        tool = self._dispatch.admitted(live.name, name)
        if tool is None or not may_call(ask.caller, live.upstream, tool):
            return self._dispatch.denied(ask, live.name, name)
        return await self._dispatch.carry(live, tool.name, ask, ask.params)

    def _tools(self, live: LiveUpstream, caller: Caller) -> bytes:
        tools = self._dispatch.all_admitted(live.name)
        return tool_list([t.definition for t in tools if may_call(caller, live.upstream, t)])


def method_not_found(method: str) -> Members:
    return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method}")
