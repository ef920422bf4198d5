"""Whether the way to a provider is open, asked without a secret and without spending anything.

Law: nothing of a login leaves here. Where nobody was reached a connection is made and nothing is
sent; where somebody else answered the provider's public metadata is asked for, and only that
document counts.
"""

import json
from typing import NoReturn

from mcpproxy.core.http import HttpReply, HttpRequest
from mcpproxy.core.model import FailureKind, Grant
from mcpproxy.core.provider_ports import HttpSender
from mcpproxy.oauth.body import looks_like_page
from mcpproxy.oauth.discovery import issuer_metadata_urls


class ProviderProbe:
    """Asks over any `HttpSender`, so by the same proxy and with the same trust as a refresh."""

    def __init__(self, sender: HttpSender) -> None:
        self._sender = sender

    async def is_open(self, grant: Grant) -> bool:
        """Whether this grant's provider can be reached now. Never raises."""
        run = grant.failures
        if run is None or run.failure.kind is FailureKind.NOT_SENT:
            return await self._connects(grant.token_endpoint)
        return await self._says_who_it_is(grant.issuer)

    async def _connects(self, url: str) -> bool:
        """Connect and finish TLS; called off before a byte of the request leaves."""
        try:
            await self._sender.exchange(HttpRequest("GET", url), before_send=_stop)
        except _Connected:
            return True
        return False

    async def _says_who_it_is(self, issuer: str) -> bool:
        """Its metadata is a JSON document, at one of the places where it may be (RFC 8414)."""
        for url in issuer_metadata_urls(issuer):
            reply = await self._sender.exchange(
                HttpRequest("GET", url, {"accept": "application/json"})
            )
            if not isinstance(reply, HttpReply) or reply.status >= 500:
                return False
            if reply.status == 200:
                return _is_document(reply)
        return False


class _Connected(Exception):
    """The connection stands: that was the question."""


async def _stop() -> NoReturn:
    raise _Connected


def _is_document(reply: HttpReply) -> bool:
    if looks_like_page(reply) or not reply.complete:
        return False
    try:
        return isinstance(json.loads(reply.body), dict)
    except (ValueError, RecursionError):
        return False
