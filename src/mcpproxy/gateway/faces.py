"""What one endpoint shows its clients.

Law: a face knows methods and callers, never HTTP or sessions; it answers one request at a time.
"""

from typing import Final, Protocol

from msgspec import Raw

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.hub import News
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

TOOLS_CHANGED: Final = "notifications/tools/list_changed"


class Face(Protocol):
    """One endpoint. `server` is the upstream it is all about, None for the aggregate."""

    @property
    def server(self) -> str | None: ...

    @property
    def changes(self) -> bool:
        """Whether what it lists may change."""
        ...

    async def introduction(self, caller: Caller, era: Era) -> Members:
        """The result of initialize for a client of this era, without a protocol version. Raises
        McpproxyError.
        """
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


def method_not_found(method: str) -> Members:
    return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method}")
