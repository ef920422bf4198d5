"""What a transport gives the rest of the gateway: a link that carries messages.

Law: a link knows framing and credentials, never methods. Adding a transport is one file and one
line in `transports.TRANSPORTS`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.bearer import Bearer
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

if TYPE_CHECKING:
    from mcpproxy.gateway.transports.guard import ProcessGuard
    from mcpproxy.gateway.transports.web import WebClient


class Link(Protocol):
    """One connection to an upstream. Many exchanges run on it at once."""

    async def exchange(self, request_id: int, body: bytes) -> Members:
        """Send a request and wait for its response, without a deadline of its own.

        Cancelling it gives the request up locally and leaves nothing behind. Raises LinkFailed,
        TokenUnavailable or ProtocolError.
        """
        ...

    async def send(self, body: bytes) -> None:
        """Send what has no response: a notification, or our answer to the upstream's request."""
        ...

    def agreed(self, agreed: Agreed) -> None:
        """The handshake is done; what needs its outcome may begin."""
        ...

    async def close(self) -> None:
        """Say goodbye within a bound and free everything. Never raises."""
        ...


class ModernLink(Protocol):
    """A link to an upstream of the stateless era. `closing_cancels` says whether giving an
    exchange up tells the upstream that it is cancelled.
    """

    closing_cancels: bool

    async def exchange(
        self, request_id: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Members:
        """As `Link.exchange`; `headers` repeat what the body says, where the wire has headers."""
        ...

    async def send(self, body: bytes) -> None: ...

    async def close(self) -> None: ...


class Inbox(Protocol):
    """Who takes what arrives on a link besides responses. Both return at once."""

    def received(self, message: Members, during: int | None) -> None:
        """A request or notification, or a response that nobody waits for any more; `during` is the
        request on whose stream it came, if any.
        """
        ...

    def streamed(self, during: int) -> None:
        """This request is answered with an event stream that can be come back to."""
        ...

    def hung_up(self, during: int) -> None:
        """That stream ended before the answer, which is being come back for."""
        ...

    def lost(self, failure: Exception) -> None:
        """The link is of no more use."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """All a transport needs to reach one upstream."""

    upstream: Upstream
    bearer: Bearer
    web: "WebClient"
    guard: "ProcessGuard"
    limits: GatewayLimits
    log: Callable[[str], None]


Opener = Callable[[Site, Inbox], Awaitable[Link]]
"""Opens a link, as far as that is possible before the handshake. Raises LinkFailed."""

ModernOpener = Callable[[Site, Inbox], Awaitable[ModernLink]]
"""The same for the stateless era."""
