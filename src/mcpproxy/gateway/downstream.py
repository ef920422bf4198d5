"""All that belongs to clients: their sessions, their subscriptions, their calls that wait.

Law: it ends when we go, at once and in order, so that nobody waits for us.
"""

import secrets

from mcpproxy.core.ports import Clock
from mcpproxy.gateway.eras import Memory
from mcpproxy.gateway.hub import Hub
from mcpproxy.gateway.legacy import LegacyExchange
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.listen import Listens
from mcpproxy.gateway.modern import ModernExchange
from mcpproxy.gateway.parking import ParkingLot
from mcpproxy.gateway.session_book import SessionBook
from mcpproxy.gateway.sessions import ClientSessions
from mcpproxy.gateway.tickets import Tickets


class Downstream:
    """What the endpoint needs besides places."""

    def __init__(
        self, clock: Clock, limits: GatewayLimits, hub: Hub, memory: Memory, key: bytes | None
    ) -> None:
        """`key` signs the ids of sessions. Without one they end with us."""
        self.limits = limits
        tickets = Tickets(key or secrets.token_bytes(32))
        book = SessionBook(memory, clock, limits.session_idle)
        self.sessions = ClientSessions(clock, limits, hub, tickets, book)
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
