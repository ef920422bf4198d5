"""All that belongs to clients: their sessions, their subscriptions, their calls that wait.

Law: it ends when we go, at once and in order, so that nobody waits for us.
"""

import secrets
from dataclasses import dataclass, field

from mcpproxy.core.ports import Clock
from mcpproxy.gateway.hub import Hub
from mcpproxy.gateway.legacy import LegacyExchange
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.listen import Listens
from mcpproxy.gateway.modern import ModernExchange
from mcpproxy.gateway.parking import ParkingLot
from mcpproxy.gateway.session_book import NoPages, Pages, SessionBook
from mcpproxy.gateway.sessions import ClientSessions
from mcpproxy.gateway.tickets import SigningKey, Tickets


def _own_key() -> SigningKey:
    key = secrets.token_bytes(32)
    return lambda: key


@dataclass(frozen=True, slots=True)
class SessionMeans:
    """What lets sessions outlive us: the key that signs their ids, and where their book is kept.

    Without any, they end with us.
    """

    key: SigningKey = field(default_factory=_own_key)
    pages: Pages = field(default_factory=NoPages)


class Downstream:
    """What the endpoint needs besides places."""

    def __init__(self, clock: Clock, limits: GatewayLimits, hub: Hub, means: SessionMeans) -> None:
        self.limits = limits
        book = SessionBook(means.pages, clock, limits.session_idle)
        self.sessions = ClientSessions(clock, limits, hub, Tickets(means.key), book)
        self.listens = Listens(hub, limits)
        self.lot = ParkingLot(limits)

    def start(self) -> None:
        self.sessions.start()

    def end_streams(self) -> None:
        self.sessions.end_streams()
        self.listens.close()
        self.lot.close()

    async def stop(self) -> None:
        self.end_streams()
        await self.sessions.stop()

    def modern(self, legacy: LegacyExchange) -> ModernExchange:
        """The same HTTP request, as one of the stateless era."""
        return ModernExchange(
            legacy.caller,
            legacy.face,
            legacy.place,
            legacy.send,
            legacy.receive,
            self.limits,
            self.lot,
            self.listens,
            legacy.request_id,
        )
