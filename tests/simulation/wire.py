"""The network between one process and the token endpoint: the port HttpSender.

What was sent is the provider's to process, whether its sender still lives or not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure
from tests.simulation.answers import (
    ASKS_FOR_A_PAUSE,
    FOREIGN,
    RETRY_AFTER,
    cut,
    foreign,
    hollow,
    oversized,
)
from tests.simulation.clock import START
from tests.simulation.faults import ALL, LOSES_THE_ANSWER, NOT_SENT, Fault
from tests.simulation.provider import FORGIVES_NOTHING, Fate, Issue, Processed, form_of
from tests.simulation.words import JSON, PASSING, REFUSALS

if TYPE_CHECKING:
    from tests.simulation.process import Process

RESET: Final = NoReply(RefreshFailure(FailureKind.UNKNOWN, "connection reset"))
TIMEOUT: Final = NoReply(RefreshFailure(FailureKind.UNKNOWN, "timeout"))
NO_WAY: Final = {
    Fault.REFUSED: NoReply(RefreshFailure(FailureKind.NOT_SENT, "connection refused")),
    Fault.DNS: NoReply(RefreshFailure(FailureKind.NOT_SENT, "name not found")),
    Fault.TLS: NoReply(RefreshFailure(FailureKind.NOT_SENT, "TLS: handshake failed")),
}
MOVED_AWAY: Final = (
    HttpReply(404, JSON, b'{"message":"no such route"}'),
    HttpReply(410, {}, b""),
    HttpReply(405, {}, b""),
    HttpReply(308, {"location": "https://elsewhere.example.com/token"}, b""),
)
"""What an endpoint that moved leaves at its old address."""
AFTER_GATEWAYS: Final = (Fault.HTTP_502, Fault.HTTP_504)


@dataclass(slots=True, eq=False)
class Flight:
    """One request between our send and our reading its answer."""

    process: "Process"
    server: str
    request: HttpRequest
    arrival: "asyncio.Future[Processed]"
    fault: Fault | None
    issue: Issue | None = None
    is_processed: bool = False
    is_cut: bool = False

    def land(self) -> None:
        """The provider processes the request, and its answer sets out."""
        if self.is_processed:
            return
        self.is_processed = True
        world = self.process.world
        done = world.provider.refresh(self.request, world.now())
        if self.fault is Fault.REPEATED and done.issue is not None:
            done = self._once_more(done)
        world.checks.processed(self.server, done)
        self.issue = done.issue
        if self.issue is not None:
            self.process.on_the_way[self.server] = self.issue
            if not self.process.alive:
                self.issue.lose(Fate.LOST)
            elif self.fault in LOSES_THE_ANSWER:
                self.issue.lose(Fate.LOST)
                world.faults.be_quiet(self.server, world.now())
        if not self.arrival.done():
            self.arrival.set_result(done)

    def _once_more(self, first: Processed) -> Processed:
        """The network delivered it twice; one of the two answers is the one that comes back. A
        provider that forgives nothing would end the login over it: there it did not happen.
        """
        world = self.process.world
        if world.provider.family(self.server).login.rotation in FORGIVES_NOTHING:
            return first
        second = world.provider.refresh(self.request, world.now())
        if second.issue is None or second.issue is first.issue or first.issue is None:
            return first
        kept, lost = world.faults.one_of(((first, second.issue), (second, first.issue)))
        lost.lose(Fate.LOST)
        return kept

    def cut(self) -> None:
        """The machine goes to sleep: the connection does not survive it."""
        self.land()
        self.is_cut = True
        if self.issue is not None:
            self.issue.lose(Fate.OUTLIVED)


class Wire:
    """One process's way to every token endpoint."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> HttpReply | NoReply:
        process, world = self._process, self._process.world
        if before_send is None:
            return await self._ask(request)
        server = world.provider.server_of(form_of(request))
        world.checks.exchange_began(process, server)
        fault = world.outage(server) or world.faults.wire(server, world.now())
        if fault is not None:
            world.faults.count(fault)
        world.trace(process.name, "exchange", server, fault or "")
        attempt = world.attempt_of(process, server)
        attempt.fault = fault
        await self._travel(server, "connected")
        if fault in NOT_SENT:
            return NO_WAY[fault]
        await before_send()
        attempt.presented = True
        world.checks.presented(process, server, request)
        reply = await self._send(server, request, fault)
        attempt.whole = isinstance(reply, HttpReply) and reply.complete
        return reply

    async def _ask(self, request: HttpRequest) -> HttpReply | NoReply:
        """Something else than a refresh: it spends nothing, and may fail too."""
        process, world = self._process, self._process.world
        world.trace(process.name, "asks", detail=request.url)
        fault = world.outage(ALL) or world.faults.wire(ALL, world.now())
        await self._travel(ALL, "answered")
        if fault is None:
            return world.authority.answer(request)
        world.faults.count(fault)
        return FOREIGN.get(fault) or NO_WAY.get(fault, RESET)

    async def _send(
        self, server: str, request: HttpRequest, fault: Fault | None
    ) -> HttpReply | NoReply:
        process, world = self._process, self._process.world
        if fault is Fault.RESET_BEFORE:
            return RESET
        if fault is Fault.SILENCE_BEFORE:
            await asyncio.sleep(world.policy.answer_timeout.total_seconds())
            return TIMEOUT
        if world.authority.has_moved(request):
            await self._travel(server, "answer arrived")
            return world.faults.one_of(MOVED_AWAY)
        if fault is not None and (fault in FOREIGN or fault in _WORDS):
            await self._travel(server, "answer arrived")
            return self._another_word(server, fault)
        loop = asyncio.get_running_loop()
        flight = Flight(process, server, request, loop.create_future(), fault)
        loop.call_later(world.faults.between(0.01, 0.3), flight.land)
        world.flights[flight] = None
        world.trouble.sent(flight)
        try:
            return await self._read(flight, fault)
        finally:
            del world.flights[flight]

    def _another_word(self, server: str, fault: Fault) -> HttpReply:
        """An answer that says nothing about the login, or says what is not so."""
        world, attempt = self._process.world, self._process.world.attempt_of(self._process, server)
        if fault is Fault.PASSING_ERROR:
            return world.faults.one_of(PASSING).reply
        if fault is Fault.ONE_OFF_REFUSAL:
            word = world.faults.one_of(REFUSALS)
            attempt.code = word.code
            world.checks.refused_for_once(server)
            world.faults.be_quiet(server, world.now())
            return word.reply
        if fault in ASKS_FOR_A_PAUSE:
            world.checks.told_to_wait(server, RETRY_AFTER)
        return foreign(fault, START + timedelta(seconds=world.now()))

    async def _read(self, flight: Flight, fault: Fault | None) -> HttpReply | NoReply:
        process, world = flight.process, flight.process.world
        process.boundary_now(flight.server, "sent")
        attempt = world.attempt_of(process, flight.server)
        done = await flight.arrival
        attempt.issued = done.issue is not None
        match fault:
            case Fault.RESET_AFTER:
                return RESET
            case Fault.SILENCE_AFTER:
                await asyncio.sleep(world.policy.answer_timeout.total_seconds())
                return TIMEOUT
            case Fault.DRIP:
                await asyncio.sleep(world.policy.answer_timeout.total_seconds())
            case Fault.SLOW:
                await asyncio.sleep(world.faults.between(11.0, 18.0))
            case _:
                pass
        reply = self._spoilt(done.reply, fault)
        await self._travel(flight.server, "answer arrived")
        if flight.is_cut:
            return RESET
        if done.word is not None and fault is not Fault.GATEWAY_AFTER:
            attempt.code = done.word.code
            attempt.other_form = done.word.code in ("invalid_target", "invalid_scope")
        return reply

    def _spoilt(self, reply: HttpReply, fault: Fault | None) -> HttpReply:
        """What the way here makes of an answer."""
        world = self._process.world
        match fault:
            case Fault.DRIP | Fault.TRUNCATED:
                return cut(reply, int(world.faults.between(0, len(reply.body))))
            case Fault.OVERSIZE:
                return oversized(reply)
            case Fault.HOLLOW:
                return hollow(reply)
            case Fault.GATEWAY_AFTER:
                return FOREIGN[world.faults.one_of(AFTER_GATEWAYS)]
            case _:
                return reply

    async def _travel(self, server: str, arrived: str) -> None:
        await asyncio.sleep(self._process.world.faults.between(0.01, 0.3))
        await self._process.boundary(server, arrived)


_WORDS: Final = frozenset({Fault.PASSING_ERROR, Fault.ONE_OFF_REFUSAL})
