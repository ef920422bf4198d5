"""Upstreams that are reached through a proxy: aiohttp knows how to ask one for a tunnel.

Law: no cookies, no redirects, no netrc, as everywhere. Nothing here is on the way of a call to an
upstream that is reached directly.
"""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mcpproxy.gateway.failures import Broken, LinkFailed, NotSent
from mcpproxy.gateway.text import short
from mcpproxy.gateway.transports.answer import Answer
from mcpproxy.gateway.transports.connections import KEEP_ALIVE, MAX_CONNECTIONS, keep_alive_socket

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

# aiohttp warns above this size and wants a file-like body instead.
_LARGE_BODY: Final = 1 << 20


class ProxiedAnswer(Answer):
    """An answer that aiohttp reads."""

    __slots__ = ("_response",)

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        headers = [(name.lower(), value) for name, value in response.headers.items()]
        super().__init__(response.status, response.reason or "", headers)
        self._response = response

    @property
    def is_open(self) -> bool:
        return self._response.connection is not None

    async def piece(self) -> bytes:
        import aiohttp

        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise failure_of(error) from error

    def close(self) -> None:
        self._response.close()


class Proxied:
    """One pool of connections through proxies. Made inside the running loop."""

    def __init__(self, trusted: ssl.SSLContext, timeout: float) -> None:
        import aiohttp

        connector = aiohttp.TCPConnector(
            ssl=trusted,
            limit=MAX_CONNECTIONS,
            keepalive_timeout=KEEP_ALIVE,
            socket_factory=keep_alive_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout),
        )

    async def request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, proxy: URL
    ) -> Answer:
        """One request, one answer, unread. Raises NotSent or Broken."""
        import aiohttp

        data = io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body
        try:
            response = await self._session.request(
                method, url, data=data, headers=headers, proxy=proxy, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise failure_of(error) from error
        return ProxiedAnswer(response)

    async def close(self) -> None:
        await self._session.close()


def failure_of(error: Exception) -> LinkFailed:
    """aiohttp's error as ours: whether anything can have arrived, and a short reason."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NotSent(f"host not found: {error.host}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return NotSent(f"TLS: {short(str(error.__cause__ or error.os_error))}")
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.strerror or str(error.os_error) or type(error.os_error).__name__
        return NotSent(short(_plain(error.os_error) or reason))
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return NotSent("connecting timed out")
    if isinstance(error, aiohttp.InvalidURL):
        return NotSent(f"not a URL: {short(str(error))}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Broken("the connection broke off in the middle of an answer")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Broken("the server closed the connection without an answer")
    return Broken(short(str(error) or type(error).__name__))


def _plain(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "connecting timed out"
    return ""
