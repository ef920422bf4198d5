"""How much log of which upstream is wanted, by everybody together.

Law: an upstream is asked for the most verbose level that any client wants; what a client did not
want is kept from it where it listens.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.levels import LEVELS
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

_RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}
_DONE: Final = b"{}"
_UNASKED: Final = "info"
"""What a server that was asked for another level is asked for when nobody wants any."""


class Talkative(Protocol):
    """The upstream's side. What it was asked for once it asks for again after a reconnect."""

    @property
    def name(self) -> str: ...

    @property
    def agreed(self) -> Agreed | None: ...

    async def set_log_level(self, level: str) -> Members:
        """Its response. Raises McpproxyError."""
        ...


class WantedLevels:
    """By client and server. `find` gives the upstream of a name, if it is there."""

    def __init__(self, find: Callable[[str], Talkative | None]) -> None:
        self._find = find
        self._wanted: dict[str, tuple[str | None, str]] = {}
        self._asked: dict[str, tuple[Talkative, str]] = {}
        self._chores: set[asyncio.Task[None]] = set()

    def of_all(self) -> frozenset[str]:
        """The clients that want logs of all servers."""
        return frozenset(key for key, (server, _) in self._wanted.items() if server is None)

    async def set(self, key: str, server: str, level: str) -> Members:
        """A client of one server wants this; the server's response."""
        self._wanted[key] = (server, level)
        live = self._find(server)
        least = self._least(server)
        if live is None or least is None:
            return jsonrpc.result(_DONE)
        response = await live.set_log_level(least)
        if jsonrpc.error_of(response) is None:
            self._asked[server] = (live, least)
        else:
            self.forget(key)
        return response

    def set_for_all(self, key: str, level: str, servers: list[str]) -> None:
        """A client of the aggregate wants this of all; these are there now."""
        self._wanted[key] = (None, level)
        for server in servers:
            self.resume(server)

    def forget(self, key: str) -> None:
        """This client is gone; what only it wanted is asked for no more."""
        gone = self._wanted.pop(key, None)
        if gone is not None:
            server, _ = gone
            for each in list(self._asked) if server is None else (server,):
                self.resume(each)

    def resume(self, server: str) -> None:
        """The server is there, or there again: ask it for what is wanted unless it knows."""
        live, least = self._find(server), self._least(server)
        if live is None:
            self._asked.pop(server, None)
        elif least is None and server in self._asked:
            least = _UNASKED
        if live is None or least is None or live.agreed is None or not live.agreed.has("logging"):
            return
        if self._asked.get(server) != (live, least):
            self._asked[server] = (live, least)
            task = asyncio.create_task(self._ask(live, least))
            self._chores.add(task)
            task.add_done_callback(self._chores.discard)

    async def stop(self) -> None:
        for chore in list(self._chores):
            chore.cancel()
        if self._chores:
            await asyncio.wait(self._chores)

    async def _ask(self, live: Talkative, level: str) -> None:
        try:
            await live.set_log_level(level)
        except McpproxyError:
            self._asked.pop(live.name, None)  # asked again when it is back

    def _least(self, server: str) -> str | None:
        levels = [level for of, level in self._wanted.values() if of in (None, server)]
        return min(levels, key=_RANK.__getitem__, default=None)
