"""The daemon's listeners: one TCP address and one Unix socket, serving the same application.

Law: nothing but loopback without TLS; the socket is 0600 in a 0700 directory. Stopping ends the
streams first: uvicorn waits for open connections before anything else may end.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from mcpproxy.config.listen import Listen
from mcpproxy.core.errors import UsageError
from mcpproxy.web.guard import is_loopback
from mcpproxy.web.listeners import QuietServer, bind_tcp, bind_unix, serving
from mcpproxy.web.peers import PeerCheckedProtocol

GRACE: Final = timedelta(seconds=5)
"""How long requests that are under way may take to end once the server stops."""
_LAST_WORDS: Final = timedelta(seconds=2)
"""How long the answers to those that were cut off then may take."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of our certificate chain and its key."""

    certificate: Path
    key: Path


class WebServer:
    """Binds in its constructor, so that a taken port is known before anything is started."""

    def __init__(
        self,
        app: ASGIApp,
        listen: Listen,
        *,
        unix_socket: Path | None = None,
        tls: Tls | None = None,
        closing: asyncio.Event | None = None,
        grace: timedelta = GRACE,
    ) -> None:
        """Raises PortInUse, NotPermitted, and UsageError for an exposed address without TLS.

        `closing` is the event of WebParts: setting it ends the streams.
        """
        refuse_exposure(listen, tls)
        self._closing = closing or asyncio.Event()
        self._grace = grace
        self._unix_socket: Path | None = None
        self._sockets = [bind_tcp(listen)]
        port: int = self._sockets[0].getsockname()[1]
        self.listen = Listen(listen.host, port)
        if unix_socket is not None and hasattr(socket, "AF_UNIX"):
            try:
                bound = bind_unix(unix_socket)
            except BaseException:
                self._sockets[0].close()
                raise
            if bound is not None:
                self._sockets.append(bound)
                self._unix_socket = unix_socket
        self._server = QuietServer(_config(app, tls, grace))
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; returns once connections are accepted."""
        self._task = asyncio.create_task(self._server.serve(self._sockets), name="web")
        await self._server.until_started(self._task)

    def hang_up(self) -> None:
        """Cut every connection that came in by a key, or without one where none was wanted: what
        is open there hears nothing more, and who may come in comes again.
        """
        for each in list(self._server.server_state.connections):
            if isinstance(each, PeerCheckedProtocol) and not each.is_local:
                each.transport.abort()

    async def stop(self, cut_off: Callable[[], None] = lambda: None) -> None:
        """End the streams, let requests come home, close the listeners. `cut_off` lets those be
        answered that take too long.
        """
        self._closing.set()
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=self._grace.total_seconds())
            cut_off()
            await self._task
        for each in self._sockets:
            each.close()
        if self._unix_socket is not None:
            with suppress(OSError):  # the disk may have become read-only meanwhile
                self._unix_socket.unlink(missing_ok=True)


def refuse_exposure(listen: Listen, tls: Tls | None) -> None:
    """Raises UsageError when others could reach us and read along."""
    if tls is not None or listen.host == "localhost" or is_loopback(listen.host):
        return
    raise UsageError(
        f"{listen} can be reached from other machines, and keys would cross the network in the "
        "clear.",
        next_step="Listen on 127.0.0.1, or set a TLS certificate.",
    )


def _config(app: ASGIApp, tls: Tls | None, grace: timedelta) -> uvicorn.Config:
    config = serving(app, protocol=PeerCheckedProtocol, grace=grace + _LAST_WORDS)
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls.certificate, tls.key)
        config.load()
        config.ssl = context
    return config
