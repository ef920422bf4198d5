"""The shared HTTP client of all remote upstreams, and one upstream's way of using it.

Law: one connection pool for the gateway's life; no cookies, no redirects, no netrc; proxies from
the environment and certificates from the system. What an answer means is decided here, once.
"""

from __future__ import annotations

import asyncio
import io
import re
import socket
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final

from multidict import CIMultiDict
from yarl import URL

from mcpproxy.core.challenge import bearer_challenge
from mcpproxy.core.errors import ProtocolError
from mcpproxy.core.model import Secret
from mcpproxy.gateway.bearer import Bearer
from mcpproxy.gateway.failures import (
    Broken,
    Busy,
    Forbidden,
    LinkFailed,
    Misconfigured,
    NotMcp,
    NotSent,
    Unauthorized,
)
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.text import short
from mcpproxy.gateway.transports.outbound import Outbound, ssl_context

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import ClientResponse

EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_A_HEADER: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")

# aiohttp warns above this size and wants a file-like body instead.
_LARGE_BODY: Final = 1 << 20
# Connections of all upstreams together: a GET stream each, and calls.
_MAX_CONNECTIONS: Final = 1024
# Less than the 5 s after which uvicorn and Node close an idle connection: a request that meets
# that close half-way would be lost without anybody knowing whether it was carried out.
_KEEP_ALIVE_SECONDS: Final = 4.0


class WebClient:
    """One pool of connections; made on first use, inside the running loop."""

    def __init__(self, limits: GatewayLimits, outbound: Outbound) -> None:
        self._limits = limits
        self._outbound = outbound
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: URL,
        headers: CIMultiDict[str],
        body: bytes | None,
        proxy: URL | None,
    ) -> ClientResponse:
        """One request, one answer, unread. Raises NotSent or Broken."""
        import aiohttp  # loads with the first connection: starting must not wait for it

        session = self._session or self._open()
        data = io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body
        try:
            return await session.request(
                method, url, data=data, headers=headers, proxy=proxy, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise failure_of(error) from error
        except ValueError as error:  # a token or a session id, for configured headers are checked
            raise Broken("a header of the request holds characters that HTTP forbids") from error

    def proxy_for(self, url: URL) -> URL | None:
        """Asked once for every link: it looks at the environment."""
        found = self._outbound.proxy_for(url.scheme, url.host or "")
        return None if found is None else URL(found)

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        try:
            trusted = ssl_context(self._outbound)
        except OSError as error:
            raise Misconfigured(
                f"the certificates of {self._outbound.ca_file} cannot be read: {error}",
                next_step="correct outbound.ca_file in the configuration",
            ) from error
        connector = aiohttp.TCPConnector(
            ssl=trusted,
            limit=_MAX_CONNECTIONS,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            socket_factory=_keep_alive_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._limits.tcp_timeout.total_seconds()
            ),
            headers={"User-Agent": "mcpproxy"},
        )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class Caller:
    """Requests to one upstream: its headers, its token, its proxy; one replay after a 401."""

    def __init__(self, url: str, bearer: Bearer, web: WebClient) -> None:
        """Raises Misconfigured for a URL or a header that no request can carry."""
        self.url = web_url(url)
        check_headers(bearer.configured)
        self._bearer = bearer
        self._web = web
        self._proxy = web.proxy_for(self.url)

    async def call(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None
    ) -> ClientResponse:
        """The answer, unread; a 401 to a token has been challenged and replayed once.

        Raises NotSent, Broken, RefreshPending or LoginRequired.
        """
        token = peeked = self._bearer.peek()
        if token is None:
            token = await self._bearer.token()
        response = await self._once(method, url, headers, body, token)
        if response.status != 401 or token is None:
            if peeked is None and token is not None:
                # It had to be waited for: perhaps it was refused before, and is good after all.
                await self._bearer.accepted(token)
            return response
        response.close()
        fresh = await self._bearer.challenged(token)
        response = await self._once(method, url, headers, body, fresh)
        if response.status != 401:
            await self._bearer.accepted(fresh)
        return response

    async def _once(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        token: Secret | None,
    ) -> ClientResponse:
        sent = CIMultiDict(self._bearer.configured)
        sent.update(headers)
        if token is not None:
            sent["Authorization"] = self._bearer.authorization(token)
        return await self._web.request(method, url, sent, body, self._proxy)


def web_url(url: str) -> URL:
    """The URL of a remote upstream. Raises Misconfigured when it cannot be one."""
    try:
        parsed = URL(url)
    except ValueError as error:
        raise Misconfigured(f"not a URL: {short(url)}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Misconfigured(f"not an http or https URL: {short(url)}")
    return parsed


def check_headers(headers: Mapping[str, str]) -> None:
    """Names are tokens and values hold no control characters (RFC 9110 section 5)."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            said = f"{short(repr(name))} is not the name of a header"
        elif _NOT_IN_A_HEADER.search(value):
            said = f"the value of header {name!r} holds a control character"
        else:
            continue
        raise Misconfigured(said, next_step="correct headers of this server in the configuration")


async def read_body(response: ClientResponse, limit: int) -> bytes:
    """The whole body. Raises ProtocolError when it is larger than `limit`, or Broken."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks(response):
        size += len(chunk)
        if size > limit:
            response.close()
            raise ProtocolError(f"an answer is larger than {limit} bytes")
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def chunks(response: ClientResponse) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Broken when it ends before its end."""
    import aiohttp

    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise failure_of(error) from error


def refusal(response: ClientResponse, detail: str = "") -> LinkFailed:
    """What an answer outside 2xx means. Outages and rate limits are never about the protocol."""
    status = response.status
    said = f"HTTP {status} {short(detail or response.reason or '', 120)}".rstrip()
    challenge = ", ".join(response.headers.getall("WWW-Authenticate", ())) or None
    if status == 401:
        return Unauthorized("the server asks for a login", challenge=challenge)
    if status == 403:
        return Forbidden(_forbidden(challenge) or said, challenge=challenge)
    if status in (408, 425, 429) or status >= 500:
        return Busy(said)
    if 300 <= status < 400:
        to = short(response.headers.get("Location", "nowhere"), 200)
        return NotMcp(
            f"HTTP {status}, redirects to {to}",
            status=status,
            next_step="redirects are not followed: configure the URL that it leads to",
        )
    return NotMcp(said, status=status)


def _forbidden(challenge: str | None) -> str | None:
    """What a 403 asks for, when it asks for more scope (RFC 6750 section 3.1)."""
    asked = bearer_challenge(challenge)
    if asked is None or asked.error != "insufficient_scope":
        return None
    return f"the login lacks a scope that is needed: {short(asked.scope or 'unnamed', 120)}"


def failure_of(error: Exception) -> LinkFailed:
    """A driver's error as ours: whether anything can have arrived, and a short reason."""
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


def _keep_alive_socket(
    address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object]],
) -> socket.socket:
    """A socket that notices a dead peer: a stream may be silent for days."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, seconds)
    return made
