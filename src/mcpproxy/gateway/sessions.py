"""Our clients' sessions (2025-11-25 and older): who they are and what waits for them.

Law: bounded in number and age. A session belongs to the caller and endpoint it was made for; to
anybody else it does not exist.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from mcpproxy.core.ports import Clock
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.hub import Hub, News
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire import jsonrpc


class Outbox:
    """Messages for one client's stream. When it is full the oldest are lost: they are hints."""

    def __init__(self, limit: int) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(limit)

    def put(self, message: bytes) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(message)

    def end(self) -> None:
        """The stream is over, once what is in the box has been sent."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def take(self, patience: timedelta) -> bytes | None:
        """The next message; None at the end. Raises TimeoutError after `patience`."""
        async with asyncio.timeout(patience.total_seconds()):
            return await self._queue.get()


@dataclass(slots=True)
class ClientSession:
    """One client. `outbox` is its open GET stream; `in_flight` are its requests by id."""

    id: str
    caller: Caller
    face: Face
    endpoint: str
    version: str
    used_at: timedelta
    outbox: Outbox | None = None
    in_flight: dict[bytes, asyncio.Task[object]] = field(default_factory=dict)
    cancelled: set[bytes] = field(default_factory=set)

    @property
    def key(self) -> str:
        return self.id

    def hear(self, news: News) -> None:
        if self.outbox is not None:
            self.outbox.put(jsonrpc.encode(news.message))


class ClientSessions:
    """All sessions, the one used longest ago first."""

    def __init__(self, clock: Clock, limits: GatewayLimits, hub: Hub) -> None:
        self._clock = clock
        self._hub = hub
        self._limits = limits
        self._sessions: OrderedDict[str, ClientSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[ClientSession]:
        return iter(list(self._sessions.values()))

    def create(self, caller: Caller, face: Face, endpoint: str, version: str) -> ClientSession:
        now = self._clock.elapsed()
        self._forget_old(now)
        made = ClientSession(secrets.token_urlsafe(24), caller, face, endpoint, version, now)
        self._sessions[made.id] = made
        self._hub.add(made)
        return made

    def find(
        self, session_id: str, caller: Caller, face: Face, endpoint: str
    ) -> ClientSession | None:
        session = self._sessions.get(session_id)
        if session is None or session.endpoint != endpoint or session.caller.name != caller.name:
            return None
        session.caller, session.face = caller, face
        session.used_at = self._clock.elapsed()
        self._sessions.move_to_end(session_id)
        return session

    def end(self, session: ClientSession) -> None:
        self._sessions.pop(session.id, None)
        self._hub.remove(session)
        if session.outbox is not None:
            session.outbox.end()
        session.cancelled.update(session.in_flight)
        for task in list(session.in_flight.values()):
            task.cancel()

    def end_streams(self) -> None:
        """We are going: every open stream ends, so that nobody waits for it."""
        for session in self._sessions.values():
            if session.outbox is not None:
                session.outbox.end()

    def _forget_old(self, now: timedelta) -> None:
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            idle = now - oldest.used_at > self._limits.session_idle
            if len(self._sessions) < self._limits.max_sessions and not idle:
                return
            self.end(oldest)
