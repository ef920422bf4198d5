"""The connections to all remote upstreams: made, kept for a moment, lent to one request at a time.

Law: bounded in number. A connection belongs to its origin alone and goes back only when its last
answer is whole; everything here ends with `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from mcpproxy.gateway.failures import Broken, NotSent
from mcpproxy.gateway.text import short
from mcpproxy.gateway.transports.answer import Answer
from mcpproxy.gateway.transports.http1 import Connection

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

MAX_CONNECTIONS: Final = 1024
"""Of all upstreams together: a GET stream each, and calls."""
KEEP_ALIVE: Final = 4.0
"""Less than the 5 s after which uvicorn and Node close an idle connection: a request that meets
that close half-way would be lost without anybody knowing whether it was carried out."""
_NEXT_ADDRESS: Final = 0.25
"""Seconds until the next address of a host is tried beside the first (RFC 8305 section 5)."""


class Origin(NamedTuple):
    """Where a connection leads. `host` is as in a URL, without brackets."""

    tls: bool
    host: str
    port: int


class Connections:
    """`trusted` gives the TLS context when it is first needed. Times are in seconds: `timeout` for
    connecting, `keep_alive` for a connection without work.
    """

    def __init__(
        self,
        timeout: float,
        trusted: Callable[[], ssl.SSLContext],
        *,
        limit: int = MAX_CONNECTIONS,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self._timeout = timeout
        self._trusted = trusted
        self._limit = limit
        self._keep_alive = keep_alive
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: dict[Connection, Origin] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    async def request(self, origin: Origin, request: bytes, *, repeatable: bool) -> Answer:
        """The answer, its body unread. Raises NotSent, Broken, ProtocolError.

        What is `repeatable` goes out again when a kept connection turns out to be closed.
        """
        kept = self._kept(origin)
        if kept is not None:
            try:
                return await kept.ask(request)
            except Broken:
                if not repeatable:
                    raise
        return await (await self._new(origin)).ask(request)

    def close(self) -> None:
        self._closed = True
        for connection in list(self._all):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()

    # --- kept ones ------------------------------------------------------------------------

    def _kept(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        if not idle:
            return None
        oldest = asyncio.get_running_loop().time() - self._keep_alive
        while idle:
            connection = idle.pop()
            if connection.is_usable and connection.free_since >= oldest:
                return connection
            connection.abort()
        return None

    def _free(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.free_since = loop.time()
        self._idle.setdefault(self._all[connection], []).append(connection)
        if self._sweeping is None:
            self._sweeping = loop.call_later(self._keep_alive, self._sweep)
        self._room()

    def _lost(self, connection: Connection) -> None:
        origin = self._all.pop(connection, None)
        if origin is None:
            return
        idle = self._idle.get(origin, [])
        with contextlib.suppress(ValueError):
            idle.remove(connection)
        if not idle:
            self._idle.pop(origin, None)
        self._room()

    def _sweep(self) -> None:
        self._sweeping = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._keep_alive
        for idle in list(self._idle.values()):
            for connection in [each for each in idle if each.free_since <= oldest]:
                connection.abort()
        if any(self._idle.values()):
            self._sweeping = loop.call_later(self._keep_alive, self._sweep)

    # --- new ones -------------------------------------------------------------------------

    async def _new(self, origin: Origin) -> Connection:
        while len(self._all) >= self._limit:
            if (idle := next((each for each in self._idle.values() if each), None)) is not None:
                idle[0].abort()
                continue
            await self._until_room()
            if (kept := self._kept(origin)) is not None:
                return kept
        if self._closed:
            raise NotSent("mcpproxy is stopping")
        connection = Connection(self._free, self._lost)
        self._all[connection] = origin
        try:
            await self._connect(origin, connection)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _until_room(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done():
                self._room()  # it was our turn: now it is somebody else's
            raise
        finally:
            self._waiting.remove(waiter)

    def _room(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _connect(self, origin: Origin, connection: Connection) -> None:
        context = self._trusted() if origin.tls else None
        try:
            async with asyncio.timeout(self._timeout):
                made = await _socket(origin)
                try:
                    await asyncio.get_running_loop().create_connection(
                        lambda: connection,
                        sock=made,
                        ssl=context,
                        server_hostname=origin.host.rstrip(".") if origin.tls else None,
                    )
                except BaseException:
                    made.close()
                    raise
        except TimeoutError:
            raise NotSent("connecting timed out") from None
        except socket.gaierror as error:
            raise NotSent(f"host not found: {short(origin.host)}") from error
        except UnicodeError as error:
            raise NotSent(f"not the name of a host: {short(origin.host)}") from error
        except ssl.SSLError as error:
            raise NotSent(f"TLS: {short(str(error))}") from error
        except ConnectionRefusedError as error:
            raise NotSent("connection refused") from error
        except (OSError, RuntimeError) as error:  # uvloop raises either
            said = error.strerror if isinstance(error, OSError) else None
            raise NotSent(short(said or str(error) or type(error).__name__)) from error


async def _socket(origin: Origin) -> socket.socket:
    import aiohappyeyeballs  # loads with the first connection: starting must not wait for it

    flags = socket.AI_NUMERICHOST if _is_address(origin.host) else socket.AI_ADDRCONFIG
    found = await asyncio.get_running_loop().getaddrinfo(
        origin.host, origin.port, type=socket.SOCK_STREAM, flags=flags
    )
    return await aiohappyeyeballs.start_connection(
        found, happy_eyeballs_delay=_NEXT_ADDRESS, socket_factory=keep_alive_socket
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def keep_alive_socket(address: AddrInfoType) -> socket.socket:
    """A socket that notices a dead peer: a stream may be silent for days."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, seconds)
    return made
