"""What all upstreams of a gateway share, and who keeps them.

Law: only shapes stand here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcpproxy.core.ports import Clock, Publisher, TokenSource, UpstreamLog
from mcpproxy.gateway.eras import Memory
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.transports.guard import ProcessGuard
from mcpproxy.gateway.transports.web import WebClient
from mcpproxy.gateway.wire.jsonrpc import Members

if TYPE_CHECKING:
    from mcpproxy.gateway.upstream import LiveUpstream


@dataclass(frozen=True, slots=True)
class Means:
    """What all upstreams of a gateway share."""

    tokens: TokenSource
    clock: Clock
    publisher: Publisher
    log: UpstreamLog
    limits: GatewayLimits
    web: WebClient
    guard: ProcessGuard
    memory: Memory


class Observer(Protocol):
    """Who keeps the upstreams. All return at once."""

    def check(self, upstream: "LiveUpstream", call: Call) -> None:
        """After a new connection: raises UpstreamError when the tool that is called is another
        one by now, which is not offered.
        """
        ...

    def listed(self, upstream: "LiveUpstream") -> None:
        """What it offers is different now."""
        ...

    def notified(
        self, upstream: "LiveUpstream", method: str, message: Members, about: frozenset[str]
    ) -> None:
        """It said something that belongs to no call; `about` as a Listener hears it."""
        ...
