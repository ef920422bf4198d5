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
# Heads of requests that are kept as they go over the wire: one for each tool, and a few more.
_MAX_HEADS: Final = 256
_ALWAYS: Final = {"User-Agent": "mcpproxy", "Accept": "*/*", "Accept-Encoding": ACCEPTED}


class WebClient:
    """What all remote upstreams share; made on first use, inside the running loop."""

    def __init__(self, limits: GatewayLimits, outbound: Outbound) -> None:
        self._timeout = limits.tcp_timeout.total_seconds()
        self._outbound = outbound
        self._connections = Connections(self._timeout, self._trust)
        self._trusted: ssl.SSLContext | None = None
        self._proxied: Proxied | None = None

    async def request(self, method: str, url: URL, request: bytes) -> Answer:
        """One request as it goes over the wire, one answer, unread.

        Raises NotSent, Broken or ProtocolError.
        """
        origin = Origin(url.scheme == "https", url.raw_host or "", url.port or 0)
        return await self._connections.request(origin, request, repeatable=method != "POST")

    async def request_by_proxy(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, proxy: URL
    ) -> Answer:
        """One request through a proxy. Raises NotSent or Broken."""
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
        self._heads: dict[tuple[object, ...], bytes] = {}
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
                await self._accepted(token, response)
            return response
        response.close()
        fresh = await self._bearer.challenged(token)
        response = await self._once(method, url, headers, body, fresh)
        if response.status != 401:
            await self._accepted(fresh, response)
        return response

    async def _accepted(self, token: Secret, response: Answer) -> None:
        try:
            await self._bearer.accepted(token)
        except BaseException:
            response.close()
            raise

    async def _once(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        token: Secret | None,
    ) -> Answer:
        proof = None if token is None else self._bearer.authorization(token)
        if proof is not None:
            check_value(proof)
        if self._proxy is not None:
            sent = self._all(headers, proof)
            if proof is not None:
                sent["Authorization"] = proof
            return await self._web.request_by_proxy(method, url, sent, body, self._proxy)
        key = (method, url, proof is None, *headers.items())
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            head = self._heads[key] = head_of(method, url, self._all(headers, proof))
        return await self._web.request(method, url, whole(head, proof, body))

    def _all(self, headers: Mapping[str, str], proof: str | None) -> dict[str, str]:
        """All but the token: configured headers take the place of usual ones, never of `headers`.

        Raises Broken for a value, such as a session id, that no header can hold.
        """
        sent = {**_ALWAYS, **headers}
        ours = {name.lower() for name in headers}
        if proof is not None:
            ours.add("authorization")
        for name in _ALWAYS:
            if name.lower() in self._configured and name.lower() not in ours:
                del sent[name]
        sent.update(pair for key, pair in self._configured.items() if key not in ours)
        for value in headers.values():
            check_value(value)
        return sent


def check_value(value: str) -> None:
    """Raises Broken. Configured values have been checked before."""
    if _NOT_IN_A_HEADER.search(value):
        raise Broken("a header of the request holds characters that HTTP forbids")


def head_of(method: str, url: URL, headers: Mapping[str, str]) -> bytes:
    """A request's line and headers on the wire (RFC 9112). They must have been checked."""
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    return "".join(lines).encode()


def whole(head: bytes, proof: str | None, body: bytes | None) -> bytes:
    """The request: its head, what proves who we are, and the body."""
    if proof is not None:
        head = b"%bAuthorization: %b\r\n" % (head, proof.encode())
    if body is None:
        return head + b"\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


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
