"""The one place of OAuth that opens connections: one exchange, one fresh connection, over HTTP/1.1.

Law: connect first, then `before_send`, then send. What fails before that line has spent nothing;
what fails after it may have. No redirects, no retries, no cookies, no pooled connection.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure, Secret
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy
from mcpproxy.oauth.addresses import Pinned, pin
from mcpproxy.oauth.routes import Routes

if TYPE_CHECKING:
    import httpx2

MAX_BODY: Final = 256 * 1024
"""SECURITY's bound on metadata and token answers; what is longer is cut and marked so."""

SEND_BEGINS: Final = "http11.send_request_headers.started"
INFLATED: Final = frozenset({"gzip", "x-gzip", "deflate"})
OWN_HEADERS: Final[Mapping[str, str]] = {
    "user-agent": "mcpproxy",
    "accept": "*/*",
    "accept-encoding": "identity",
    "connection": "close",
}

BeforeSend = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Exchange:
    """How far one exchange got. `head` is set once the answer's status and headers are there."""

    before_send: BeforeSend | None
    deadline: asyncio.Timeout
    answer_seconds: float
    sending: bool = False
    objection: Exception | None = None
    head: httpx2.Response | None = None
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    async def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Awaited by the HTTP library at each step of its own."""
        if event != SEND_BEGINS or self.sending or _is_connect(info):
            return
        self.deadline.reschedule(None)  # the store has a deadline of its own
        if self.before_send is not None:
            try:
                await self.before_send()
            except Exception as error:
                self.objection = error
                raise
        self.sending = True
        self.deadline.reschedule(asyncio.get_running_loop().time() + self.answer_seconds)


class OAuthHttpSender:
    """`HttpSender` over httpx2.

    `proxy` is the configured outbound proxy, not used for the hosts in `no_proxy`; without it the
    environment's count (HTTPS_PROXY, NO_PROXY, ...). `ca_file` is trusted besides the system's
    authorities and SSL_CERT_FILE.
    """

    def __init__(
        self,
        *,
        policy: RefreshPolicy = DEFAULT_POLICY,
        proxy: Secret | None = None,
        no_proxy: Sequence[str] = (),
        ca_file: Path | None = None,
    ) -> None:
        self._policy = policy
        self._routes = Routes(proxy.reveal() if proxy else None, tuple(no_proxy))
        self._ca_file = ca_file
        self._ssl_context: ssl.SSLContext | None = None

    async def exchange(
        self, request: HttpRequest, *, before_send: BeforeSend | None = None
    ) -> HttpReply | NoReply:
        """See the port. Whatever `before_send` raises is raised, and nothing was sent."""
        deadline = asyncio.timeout(self._policy.connect_timeout.total_seconds())
        answer_seconds = self._policy.answer_timeout.total_seconds()
        exchange = _Exchange(before_send, deadline, answer_seconds)
        try:
            async with deadline:
                await self._reach(request, exchange)
        except Exception as error:
            if exchange.objection is not None:
                raise exchange.objection from None
            if exchange.head is None:
                from mcpproxy.oauth.trouble import describe, suspect

                kind = FailureKind.UNKNOWN if exchange.sending else FailureKind.NOT_SENT
                return NoReply(RefreshFailure(kind, describe(error), suspect=suspect(error)))
        return _reply(exchange)

    async def _reach(self, request: HttpRequest, exchange: _Exchange) -> None:
        """Exchange with the first address that can be connected to."""
        if request.on_behalf_of is None or self._routes.is_proxied(request.url):
            # A proxy looks names up for us: what they lead to cannot be pinned here.
            await self._talk(request, None, exchange)
            return
        import httpx2

        places = await pin(request.url, request.on_behalf_of)
        for place in places[:-1]:
            try:
                await self._talk(request, place, exchange)
                return
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        await self._talk(request, places[-1], exchange)

    async def _talk(self, request: HttpRequest, place: Pinned | None, exchange: _Exchange) -> None:
        headers = {**OWN_HEADERS, **request.headers}
        extensions: dict[str, object] = {"trace": exchange.trace}
        if place is not None:
            headers["host"] = place.authority
            extensions["sni_hostname"] = place.host
        async with self._client(request.url) as client:
            built = client.build_request(
                request.method,
                place.url if place else request.url,
                headers=headers,
                content=request.body,
                extensions=extensions,
            )
            response = await client.send(built, stream=True, follow_redirects=False)
            try:
                exchange.head = response
                async for chunk in response.aiter_raw():
                    exchange.body += chunk
                    if len(exchange.body) > MAX_BODY:
                        return
                exchange.whole = True
            finally:
                await response.aclose()

    @asynccontextmanager
    async def _client(self, url: str) -> AsyncIterator[httpx2.AsyncClient]:
        import httpx2  # loads with the first exchange: starting must not wait for it

        if self._ssl_context is None:
            self._ssl_context = await asyncio.to_thread(_trust, self._ca_file)
        async with httpx2.AsyncClient(
            verify=self._ssl_context,
            proxy=self._routes.proxy_for(url),
            trust_env=self._routes.asks_environment(url),
            http1=True,
            http2=False,
            timeout=None,  # the two deadlines bound everything, slow drips included
        ) as client:
            client.headers.clear()
            yield client


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """The system's authorities (or SSL_CERT_FILE's), and the configured one."""
    import httpx2

    context = httpx2.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _is_connect(info: Mapping[str, object]) -> bool:
    """Whether this is the request to the outbound proxy, not ours."""
    return getattr(info.get("request"), "method", None) == b"CONNECT"


def _reply(exchange: _Exchange) -> HttpReply | NoReply:
    """What had come when the exchange ended, by itself or by an error."""
    head = exchange.head
    if head is None:
        return NoReply(RefreshFailure(FailureKind.UNKNOWN, "no answer"))
    headers = {name.lower(): value for name, value in head.headers.items()}
    body, whole = bytes(exchange.body), exchange.whole
    if headers.get("content-encoding", "").strip().lower() in INFLATED:
        body, whole = _inflate(body, whole)
    return HttpReply(head.status_code, headers, body[:MAX_BODY], whole)


def _inflate(body: bytes, whole: bool) -> tuple[bytes, bool]:
    """A body that was compressed though we asked for it plain, to the same bound."""
    inflater = zlib.decompressobj(wbits=47)  # zlib or gzip, as its first bytes say
    try:
        plain = inflater.decompress(body, MAX_BODY)
    except zlib.error:
        return body, False
    return plain, whole and inflater.eof
