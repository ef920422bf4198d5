"""Direct mode: every tool of every upstream, as `server__tool`."""

from msgspec import Raw

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import SEPARATOR, Catalog
from mcpproxy.gateway.dispatch import Dispatch, tool_error
from mcpproxy.gateway.pages import Pages
from mcpproxy.gateway.wire.jsonrpc import Members


class DirectMode:
    name = "direct"
    instructions = "Tools of several servers, each named after its server: server__tool."
    changes = True

    def __init__(self, catalog: Catalog, dispatch: Dispatch) -> None:
        self._catalog = catalog
        self._dispatch = dispatch
        self._pages = Pages("tools")

    async def tools(self, ask: Ask) -> Members:
        await self._dispatch.tried()
        caller, allows = ask.caller, self._dispatch.allows
        if not self._pages.knows(caller, self._catalog.revision):
            shown = (entry.definition for entry in self._catalog if allows(caller, entry))
            self._pages.put(caller, shown)
        return self._pages.answer(caller, ask.params.get("cursor"))

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        await self._dispatch.tell(caller, method, params)

    def definition(self, caller: Caller, name: str) -> bytes | None:
        entry = self._dispatch.entry(caller, name)
        return None if entry is None else entry.definition

    async def call(self, ask: Ask, name: str) -> Members:
        try:
            entry = await self._dispatch.find(ask.caller, name, ask)
        except McpproxyError as error:
            return tool_error(error, name.partition(SEPARATOR)[0])
        if entry is None:
            return self._dispatch.denied(ask, "", name)
        return await self._dispatch.call(ask, entry, ask.params)
