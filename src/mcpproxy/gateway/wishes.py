"""What clients want of an upstream beyond single calls: resources to hear of, a level of its log.

Law: a wish outlives the connection it was first told on; it is told again on every new one.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.session import Call, Session
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

UPDATED: Final = "notifications/resources/updated"


class Twin(Protocol):
    """The session of the older era beside one of the newer."""

    @property
    def current(self) -> Session | None: ...

    async def session(self) -> Session | None: ...


Request = Callable[[Call], Awaitable[Members]]
"""Sends a request to the upstream. Raises McpproxyError."""


class Wishes:
    """The wishes that one upstream has granted. What its newer era refuses, its older may grant."""

    def __init__(self) -> None:
        self._uris: set[str] = set()
        self._older: set[str] = set()
        self._level: str | None = None

    async def subscribe(self, uri: str, request: Request, twin: Twin) -> Members:
        """The upstream's response. Raises as `request`."""
        response = await request(_subscribe(uri))
        if "result" in response:
            self._uris.add(uri)
        elif (older := await twin.session()) is not None:
            response = await older.request(_subscribe(uri))
            if "result" in response:
                self._older.add(uri)
        return response

    async def unsubscribe(self, uri: str, request: Request, twin: Twin) -> Members:
        call = Call("resources/unsubscribe", {"uri": jsonrpc.raw(uri)})
        self._uris.discard(uri)
        if uri in self._older and (older := await twin.session()) is not None:
            self._older.discard(uri)
            return await older.request(call)
        return await request(call)

    async def set_log_level(self, level: str, request: Request, twin: Twin) -> Members:
        response = await request(_set_level(level))
        if "result" in response:
            self._level = level
            if twin.current is not None:
                await twin.current.request(_set_level(level))
        return response

    async def tell(self, request: Request) -> tuple[Members, ...]:
        """Tell them all again; the notifications that somebody may have missed meanwhile."""
        return await self._told(request, self._uris)

    async def tell_older(self, request: Request) -> None:
        """Tell a new session of the older era what concerns it."""
        await self._told(request, self._older)

    async def _told(self, request: Request, uris: set[str]) -> tuple[Members, ...]:
        missed: list[Members] = []
        try:
            if self._level is not None:
                await request(_set_level(self._level))
            for uri in sorted(uris):
                await request(_subscribe(uri))
                said = jsonrpc.notification(UPDATED, jsonrpc.raw({"uri": uri}))
                missed += jsonrpc.parse(said)
        except McpproxyError:
            pass  # the connection is gone again; the next one is told
        return tuple(missed)


def _subscribe(uri: str) -> Call:
    return Call("resources/subscribe", {"uri": jsonrpc.raw(uri)})


def _set_level(level: str) -> Call:
    return Call("logging/setLevel", {"level": jsonrpc.raw(level)})
