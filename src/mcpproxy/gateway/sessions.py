"""Our clients' sessions (2025-11-25 and older): who they are and what waits for them.

Law: bounded in age and in number; where there are too many, the caller with the most of them loses
one. A session belongs to the caller and place it was made for; to anybody else it does not exist.
It outlives us: its id says what the next run of us must know.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from datetime import timedelta

from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.core.ports import Clock
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client_session import SUBSCRIBE, ClientSession, Introduced
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.hub import Hub
from mcpproxy.gateway.levels import SET_LEVEL
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.session_book import SessionBook, Used
from mcpproxy.gateway.streams import Kept
from mcpproxy.gateway.tickets import Ticket, Tickets, digest
from mcpproxy.gateway.wire import jsonrpc


class ClientSessions:
    """All sessions, the one used longest ago first."""

    def __init__(
        self, clock: Clock, limits: GatewayLimits, hub: Hub, tickets: Tickets, book: SessionBook
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._hub = hub
        self._tickets = tickets
        self._book = book
        self._kept = Kept(limits)
        self._sessions: OrderedDict[str, ClientSession] = OrderedDict()
        self._writing: asyncio.Task[None] | None = None
        self.closing = False

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[ClientSession]:
        return iter(list(self._sessions.values()))

    def start(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._book.keep(self.in_use))

    async def stop(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait((self._writing,))
            await self._book.write(self.in_use())

    # --- one session ----------------------------------------------------------------------

    def create(
        self, caller: Caller, face: Face, place: str, introduced: Introduced
    ) -> ClientSession:
        session_id = self._tickets.issue(
            Ticket(
                caller.name,
                place,
                introduced.version,
                self._book.now(),
                jsonrpc.raw(introduced.capabilities),
                introduced.info or Raw(b"null"),
            )
        )
        return self._add(session_id, caller, face, place, introduced)

    def find(self, session_id: str, caller: Caller, face: Face, place: str) -> ClientSession | None:
        """The session of this run of us, if it is this caller's at this place."""
        session = self._sessions.get(session_id)
        if session is None or session.place != place or session.caller.name != caller.name:
            return None
        session.caller, session.face = caller, face
        session.used_at = self._clock.elapsed()
        self._sessions.move_to_end(session_id)
        return session

    async def revive(
        self, session_id: str, caller: Caller, face: Face, place: str
    ) -> ClientSession | None:
        """The session as another run of us, or a sibling, left it."""
        ticket = self._tickets.read(session_id)
        if ticket is None or session_id in self._sessions:
            return None
        if ticket.place != place or ticket.caller != caller.name:
            return None
        await self._book.ready()
        mark = digest(session_id)
        used = self._book.used(mark)
        last = max(ticket.issued_at, used.at if used is not None else 0)
        idle = timedelta(seconds=self._book.now() - last) > self._limits.session_idle
        if idle or self._book.has_ended(mark):
            return None
        # Another request may have revived it while the book was read.
        if (known := self.find(session_id, caller, face, place)) is not None:
            return known
        try:
            capabilities = jsonrpc.members(ticket.capabilities)
        except ProtocolError:
            return None
        introduced = Introduced(ticket.version, capabilities, ticket.info)
        session = self._add(session_id, caller, face, place, introduced)
        session.revived = True
        if used is not None and (used.log_level is not None or used.uris):
            session.log_level = used.log_level
            session.subscribed = dict.fromkeys(used.uris)
            task = asyncio.create_task(_restore(session))
            session.running.add(task)
            task.add_done_callback(session.running.discard)
        return session

    def end(self, session: ClientSession) -> None:
        """It is over for good: a later run of us knows that too."""
        self._book.ended(digest(session.id))
        self._drop(session)

    def end_streams(self) -> None:
        """We are going: nobody is left waiting for a stream, or for a person's answer."""
        self.closing = True
        for session in self._sessions.values():
            session.end_streams()

    def in_use(self) -> Mapping[str, Used]:
        """What the next run of us has to know of the sessions of now."""
        now, elapsed = self._book.now(), self._clock.elapsed()
        return {
            digest(session.id): Used(
                now - int((elapsed - session.used_at).total_seconds()),
                session.log_level,
                tuple(session.subscribed),
            )
            for session in self._sessions.values()
        }

    def _add(
        self, session_id: str, caller: Caller, face: Face, place: str, introduced: Introduced
    ) -> ClientSession:
        now = self._clock.elapsed()
        self._forget_old(now, caller)
        made = ClientSession(
            session_id, caller, face, place, introduced, self._kept, self._book.changed
        )
        made.used_at = now
        self._sessions[session_id] = made
        self._hub.add(made)
        return made

    def _forget_old(self, now: timedelta, coming: Caller) -> None:
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if now - oldest.used_at > self._limits.session_idle:
                self.end(oldest)
            elif len(self._sessions) >= self._limits.max_sessions:
                # Only forgotten: should its client come back, it is revived.
                theirs = self._of_who_has_most(coming)
                quiet = (each for each in theirs if each.is_quiet)
                self._drop(next(quiet, theirs[0]))
            else:
                return

    def _of_who_has_most(self, coming: Caller) -> list[ClientSession]:
        """The sessions of the caller with the most of them, the one that comes counted too. Where
        all have as many, of who was there longest ago; a caller that has none has none to lose.
        """
        counts = Counter(each.caller.name for each in self._sessions.values())

        def weight(name: str) -> tuple[int, bool]:
            comes = name == coming.name
            return counts[name] + comes, comes

        most = max(counts, key=weight)
        return [each for each in self._sessions.values() if each.caller.name == most]

    def _drop(self, session: ClientSession) -> None:
        self._sessions.pop(session.id, None)
        self._hub.remove(session)
        session.close()


async def _restore(session: ClientSession) -> None:
    """Let the upstreams know what the client told them in the last run of us."""
    client = session.client(None)
    if session.log_level is not None:
        level = {"level": jsonrpc.raw(session.log_level)}
        await session.face.answer(Ask(session.caller, SET_LEVEL, level, None, client))
    for uri in list(session.subscribed):
        wish = {"uri": jsonrpc.raw(uri)}
        answer = await session.face.answer(Ask(session.caller, SUBSCRIBE, wish, None, client))
        if "result" not in answer:
            session.subscribed.pop(uri, None)
