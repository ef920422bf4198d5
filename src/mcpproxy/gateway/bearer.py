"""What a request to an upstream carries to prove itself: configured headers and our token.

Law: the token is for the upstream's own URL only, in the Authorization header only, and nothing
a client sent us to prove itself to us ever goes here.
"""

from collections.abc import Mapping
from typing import Final

from mcpproxy.core.model import Secret, Upstream
from mcpproxy.core.ports import TokenSource
from mcpproxy.gateway.scrub import Scrubber

# Headers the transport itself sets; a configured value would break the framing or the protocol.
_OURS: Final = frozenset(
    {
        "accept",
        "connection",
        "content-length",
        "content-type",
        "host",
        "mcp-protocol-version",
        "mcp-session-id",
        "transfer-encoding",
    }
)


class Bearer:
    """The credentials of one upstream. A configured Authorization header replaces our token."""

    def __init__(self, upstream: Upstream, tokens: TokenSource, scrub: Scrubber) -> None:
        self._server = upstream.name
        self._url = upstream.url or ""
        self._tokens = tokens
        self._scrub = scrub
        self.configured: Mapping[str, str] = {
            name: value.reveal()
            for name, value in upstream.headers.items()
            if name.lower() not in _OURS
        }
        self._fixed = any(name.lower() == "authorization" for name in self.configured)

    def peek(self) -> Secret | None:
        """The token from memory, for the hot path."""
        return None if self._fixed else self._tokens.peek(self._server, self._url)

    async def token(self) -> Secret | None:
        """The token, after a refresh in flight. Raises RefreshPending or LoginRequired."""
        return None if self._fixed else await self._tokens.token(self._server, self._url)

    async def challenged(self, rejected: Secret) -> Secret:
        """A newer token than the one the upstream refused. Raises as `token` does."""
        return await self._tokens.challenged(self._server, self._url, rejected)

    async def accepted(self, token: Secret) -> None:
        await self._tokens.accepted(self._server, token)

    def authorization(self, token: Secret) -> str:
        """The header's value; what the upstream says of it later is scrubbed."""
        self._scrub.sent(token)
        return "Bearer " + token.reveal()
