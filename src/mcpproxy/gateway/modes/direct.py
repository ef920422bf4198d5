"""Direct mode: every tool of every upstream, as `server__tool`."""

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import SEPARATOR, Catalog
from mcpproxy.gateway.dispatch import Dispatch, tool_error, unknown_tool
from mcpproxy.gateway.modes.mode import Lists
from mcpproxy.gateway.wire.jsonrpc import Members


class DirectMode:
    name = "direct"
    instructions = "Tools of several servers, each named after its server: server__tool."
    changes = True

    def __init__(self, catalog: Catalog, dispatch: Dispatch) -> None:
        self._catalog = catalog
        self._dispatch = dispatch
        self._lists = Lists()

    async def tools(self, caller: Caller) -> bytes:
        await self._dispatch.tried()
        known = self._lists.get(caller, self._catalog.revision)
        if known is not None:
            return known
        allows = self._dispatch.allows
        return self._lists.put(
            caller, [entry.definition for entry in self._catalog if allows(caller, entry)]
        )

    async def call(self, ask: Ask, name: str) -> Members:
        try:
            entry = await self._dispatch.find(ask.caller, name)
        except McpproxyError as error:
            return tool_error(error, name.partition(SEPARATOR)[0])
        if entry is None:
            return unknown_tool(name)
        return await self._dispatch.call(ask, entry, ask.params)
