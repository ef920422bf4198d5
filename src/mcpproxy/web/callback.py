"""The loopback listener that the provider's redirect comes to, open while logins are pending.

Law: the pages are static and reflect nothing; no query is ever logged; only loopback, only the
redirect URI's own path, only GET. The code leaves the address bar by a redirect.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from mcpproxy.config.listen import Listen
from mcpproxy.core.errors import CallbackPortBusy, LoginError, NotPermitted, PortInUse, UsageError
from mcpproxy.web.guard import is_loopback
from mcpproxy.web.listeners import QuietServer, bind_tcp, serving
from mcpproxy.web.peers import PeerCheckedProtocol
from mcpproxy.web.redirect_page import Receiver, RedirectPage

LINGER: Final = timedelta(milliseconds=800)
"""After the last login the browser still fetches its page; within a second the port is free."""

MAX_AT_ONCE: Final = 64
"""Connections of one port: a browser needs a handful."""


@dataclass(slots=True)
class _Door:
    """One port, with those who wait behind it, by the path of their redirect URI."""

    server: QuietServer
    task: "asyncio.Task[None]"
    receivers: dict[str, list[Receiver]]
    closing: asyncio.TimerHandle | None = None


class LoopbackCallback:
    """Implements the port CallbackListener."""

    def __init__(self) -> None:
        self._doors: dict[Listen, _Door] = {}
        self._opening = asyncio.Lock()

    def listening(self, redirect_uri: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        return self._listening(redirect_uri, receive)

    async def free_port(self) -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    async def aclose(self) -> None:
        """Close what still lingers."""
        for door in list(self._doors.values()):
            _shut(door)
            await door.task
        self._doors.clear()

    @asynccontextmanager
    async def _listening(self, redirect_uri: str, receive: Receiver) -> AsyncIterator[None]:
        listen, path = _target(redirect_uri)
        async with self._opening:
            door = await self._door(listen)
            waiting = door.receivers.setdefault(path, [])
            waiting.append(receive)
        try:
            yield
        finally:
            waiting.remove(receive)
            if not any(door.receivers.values()):
                loop = asyncio.get_running_loop()
                door.closing = loop.call_later(LINGER.total_seconds(), _shut, door)

    async def _door(self, listen: Listen) -> _Door:
        door = self._doors.get(listen)
        if door is not None and door.closing is not None:
            door.closing.cancel()
            door.closing = None
        if door is not None and not door.server.should_exit:
            return door
        if door is not None:
            await door.task
        receivers: dict[str, list[Receiver]] = {}
        sockets = _bind(listen)
        server = QuietServer(
            serving(
                RedirectPage(receivers),
                protocol=PeerCheckedProtocol,
                keep_alive=timedelta(seconds=1),
                grace=timedelta(seconds=2),
                at_once=MAX_AT_ONCE,
            )
        )
        task = asyncio.create_task(server.serve(sockets), name=f"callback:{listen}")
        self._doors[listen] = door = _Door(server, task, receivers)
        await server.until_started(task)
        return door


def _shut(door: _Door) -> None:
    door.server.should_exit = True


def _target(redirect_uri: str) -> tuple[Listen, str]:
    """Where to listen for it. Raises LoginError when that is not a loopback address."""
    try:
        parts = urlsplit(redirect_uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme != "http" or not port or not (host == "localhost" or is_loopback(host)):
        raise LoginError(
            f"The redirect URI {redirect_uri!r} is not one that can be listened for here.",
            next_step="Set `oauth.redirect_uri` to http://127.0.0.1:PORT/oauth/callback.",
        )
    return Listen(host, port), parts.path or "/"


def _bind(listen: Listen) -> list[socket.socket]:
    """`localhost` may mean either address to the browser; the IPv6 one may be missing."""
    if listen.host != "localhost":
        return [_bind_one(listen)]
    sockets = [_bind_one(Listen("127.0.0.1", listen.port))]
    with contextlib.suppress(CallbackPortBusy):
        sockets.append(_bind_one(Listen("::1", listen.port)))
    return sockets


def _bind_one(listen: Listen) -> socket.socket:
    try:
        return bind_tcp(listen)
    except (PortInUse, NotPermitted, UsageError) as error:
        raise CallbackPortBusy(
            f"The login's redirect cannot be listened for: {error.message}",
            next_step=f"Free port {listen.port}, or set another one in the server's "
            "`oauth.redirect_uri`; or paste the redirect URL back with "
            "`mcpproxy auth login NAME --no-browser`.",
        ) from error
