"""The shared HTTP client of all remote upstreams, and one upstream's way of using it.

Law: one pool of connections for the gateway's life; no cookies, no redirects, no netrc; proxies
from the environment and certificates from the system.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from yarl import URL

from mcpproxy.core.model import Secret
from mcpproxy.gateway.bearer import Bearer
from mcpproxy.gateway.failures import Broken, Misconfigured
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.text import short
from mcpproxy.gateway.transports.answer import Answer
from mcpproxy.gateway.transports.connections import Connections, Origin
from mcpproxy.gateway.transports.inflate import ACCEPTED
from mcpproxy.gateway.transports.outbound import Outbound, ssl_context

if TYPE_CHECKING:
    from mcpproxy.gateway.transports.proxied import Proxied

EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_A_HEADER: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_ALWAYS: Final = {"User-Agent": "mcpproxy", "Accept": "*/*", "Accept-Encoding": ACCEPTED}


class WebClient:
    """What all remote upstreams share; made on first use, inside the running loop."""

    def __init__(self, limits: GatewayLimits, outbound: Outbound) -> None:
        self._timeout = limits.tcp_timeout.total_seconds()
        self._outbound = outbound
        self._connections = Connections(self._timeout, self._trust)
        self._trusted: ssl.SSLContext | None = None
        self._proxied: Proxied | None = None

    async def request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """One request, one answer, unread. Raises NotSent, Broken or ProtocolError."""
        origin = Origin(url.scheme == "https", url.raw_host or "", url.port or 0)
        request = written(method, url, headers, body)
        return await self._connections.request(origin, request, repeatable=method != "POST")

    async def request_by_proxy(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, proxy: URL
    ) -> Answer:
        """As `request`, through a proxy."""
        if self._proxied is None:
            from mcpproxy.gateway.transports.proxied import Proxied

            self._proxied = Proxied(self._trust(), self._timeout)
        return await self._proxied.request(method, url, headers, body, proxy)

    def proxy_for(self, url: URL) -> URL | None:
        """Asked once for every link: it looks at the environment."""
        found = self._outbound.proxy_for(url.scheme, url.host or "")
        return None if found is None else URL(found)

    def _trust(self) -> ssl.SSLContext:
        if self._trusted is None:
            try:
                self._trusted = ssl_context(self._outbound)
            except OSError as error:
                raise Misconfigured(
                    f"the certificates of {self._outbound.ca_file} cannot be read: {error}",
                    next_step="correct outbound.ca_file in the configuration",
                ) from error
        return self._trusted

    async def close(self) -> None:
        self._connections.close()
        if self._proxied is not None:
            await self._proxied.close()
            self._proxied = None


class Caller:
    """Requests to one upstream: its headers, its token, its proxy; one replay after a 401."""

    def __init__(self, url: str, bearer: Bearer, web: WebClient) -> None:
        """Raises Misconfigured for a URL or a header that no request can carry."""
        self.url = web_url(url)
        check_headers(bearer.configured)
        self._configured = {name.lower(): (name, value) for name, value in _own(self.url, bearer)}
        self._bearer = bearer
        self._web = web
        self._proxy = web.proxy_for(self.url)

    async def call(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
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
    ) -> Answer:
        sent = {**_ALWAYS, **headers}
        if self._configured:
            ours = {name.lower() for name in headers}
            for name in _ALWAYS:
                if name.lower() in self._configured:
                    sent.pop(name, None)
            sent.update(pair for key, pair in self._configured.items() if key not in ours)
        if token is not None:
            sent["Authorization"] = self._bearer.authorization(token)
        for value in sent.values():
            if _NOT_IN_A_HEADER.search(value):  # a token or a session id: others are checked
                raise Broken("a header of the request holds characters that HTTP forbids")
        if self._proxy is not None:
            return await self._web.request_by_proxy(method, url, sent, body, self._proxy)
        return await self._web.request(method, url, sent, body)


def written(method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """A request on the wire (RFC 9112). The headers must have been checked."""
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body is None:
        lines.append("\r\n")
        return "".join(lines).encode()
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "".join(lines).encode() + body


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


def _own(url: URL, bearer: Bearer) -> list[tuple[str, str]]:
    """The configured headers, and the credentials that the URL itself holds."""
    found = list(bearer.configured.items())
    if url.raw_user is not None or url.raw_password is not None:
        pair = f"{unquote(url.raw_user or '')}:{unquote(url.raw_password or '')}".encode()
        found.insert(0, ("Authorization", f"Basic {base64.b64encode(pair).decode()}"))
    return found
