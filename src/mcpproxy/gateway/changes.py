"""Lists that changed, told to clients together.

Law: a change is told at once, and what follows within a pause at the end of it: upstreams that come
together, or change often, cost a client one hint a kind. A list that is as it was costs nothing.
"""

import asyncio
from typing import Final

from mcpproxy.gateway.faces import TOOLS_CHANGED
from mcpproxy.gateway.hub import Hub, News
from mcpproxy.gateway.items import Kind
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire import jsonrpc

RESOURCES_CHANGED: Final = "notifications/resources/list_changed"
PROMPTS_CHANGED: Final = "notifications/prompts/list_changed"
_METHOD_OF: Final = {
    Kind.TOOLS: TOOLS_CHANGED,
    Kind.RESOURCES: RESOURCES_CHANGED,
    Kind.TEMPLATES: RESOURCES_CHANGED,
    Kind.PROMPTS: PROMPTS_CHANGED,
}
_MESSAGE_OF: Final = {
    method: jsonrpc.members(jsonrpc.notification(method)) for method in _METHOD_OF.values()
}


class Changes:
    """What is to be told soon."""

    def __init__(self, hub: Hub, limits: GatewayLimits) -> None:
        self._hub = hub
        self._pause = limits.changes_pause.total_seconds()
        self._noted: dict[tuple[str, str], News] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, server: str, kinds: frozenset[Kind]) -> None:
        """What a server offers of these kinds is different now."""
        for kind in kinds:
            method = _METHOD_OF[kind]
            self._noted[method, server] = News(server, method, _MESSAGE_OF[method])
        if self._noted and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0, self._tell)

    @property
    def is_quiet(self) -> bool:
        """Whether everything was told."""
        return not self._noted

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        if not self._noted:
            return
        noted, self._noted = self._noted, {}
        self._hub.publish(*noted.values())
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._tell)
