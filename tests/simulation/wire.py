"""The network between one process and the token endpoint: the port HttpSender.

What was sent is the provider's to process, whether its sender still lives or not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure
from tests.simulation.faults import LOSES_THE_ANSWER, Fault
from tests.simulation.provider import Fate, Issue

if TYPE_CHECKING:
    from tests.simulation.process import Process

RETRY_AFTER: Final = 30

HTML: Final = {"content-type": "text/html"}
JSON: Final = {"content-type": "application/json"}

UNPROCESSED: Final = {
    Fault.HTTP_503: HttpReply(503, HTML, b"<html>upstream unavailable</html>"),
    Fault.HTTP_429: HttpReply(429, {"retry-after": str(RETRY_AFTER)}, b""),
    Fault.PORTAL: HttpReply(200, HTML, b"<html>please accept the terms</html>"),
    Fault.BAD_JSON: HttpReply(200, JSON, b'{"ok": '),
    Fault.ONE_OFF_REFUSAL: HttpReply(
        400, JSON, b'{"error":"invalid_grant","error_description":"not replicated yet"}'
    ),
}
"""Answers that never reached the token endpoint's own code."""

RESET: Final = NoReply(RefreshFailure(FailureKind.UNKNOWN, "connection reset"))


@dataclass(slots=True, eq=False)
class Flight:
    """One request between our send and our reading its answer."""

    process: "Process"
    server: str
    request: HttpRequest
    arrival: "asyncio.Future[HttpReply]"
    loses_answer: bool
    issue: Issue | None = None
    is_processed: bool = False
    is_cut: bool = False

    def land(self) -> None:
        """The provider processes the request, and its answer sets out."""
        if self.is_processed:
            return
        self.is_processed = True
        world = self.process.world
        reply, self.issue = world.provider.refresh(self.request, world.now())
        world.checks.processed(self.server)
        if self.issue is not None:
            self.process.on_the_way[self.server] = self.issue
            if not self.process.alive:
                self.issue.lose(Fate.LOST)
            elif self.loses_answer:
                self.issue.lose(Fate.LOST)
                world.faults.be_quiet(self.server, world.now())
        if not self.arrival.done():
            self.arrival.set_result(reply)

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
        server = request.url.rsplit("/", 1)[-1]
        world.checks.exchange_began(process, server)
        fault = Fault.REFUSED if world.is_down(server) else world.faults.wire(server, world.now())
        world.trace(process.name, "exchange", server, fault or "")
        await self._travel(server, "connected")
        if fault is Fault.REFUSED:
            return NoReply(RefreshFailure(FailureKind.NOT_SENT, "connection refused"))
        if before_send is not None:
            await before_send()
        world.checks.presented(process, server)
        if fault is Fault.RESET_BEFORE:
            return RESET
        if fault in UNPROCESSED:
            return self._unprocessed(server, fault)
        return await self._send(server, request, fault)

    def _unprocessed(self, server: str, fault: Fault) -> HttpReply:
        world = self._process.world
        if fault is Fault.ONE_OFF_REFUSAL:
            world.checks.refused_for_once(server)
            world.faults.be_quiet(server, world.now())
        if fault is Fault.HTTP_429:
            world.checks.told_to_wait(server, RETRY_AFTER)
        return UNPROCESSED[fault]

    async def _send(
        self, server: str, request: HttpRequest, fault: Fault | None
    ) -> HttpReply | NoReply:
        process, world = self._process, self._process.world
        loop = asyncio.get_running_loop()
        flight = Flight(process, server, request, loop.create_future(), fault in LOSES_THE_ANSWER)
        loop.call_later(world.faults.between(0.01, 0.3), flight.land)
        world.flights[flight] = None
        try:
            return await self._read(flight, fault)
        finally:
            del world.flights[flight]

    async def _read(self, flight: Flight, fault: Fault | None) -> HttpReply | NoReply:
        process, world = flight.process, flight.process.world
        process.boundary_now(flight.server, "sent")
        reply = await flight.arrival
        match fault:
            case Fault.RESET_AFTER:
                return RESET
            case Fault.SILENCE_AFTER:
                await asyncio.sleep(world.policy.answer_timeout.total_seconds())
                return NoReply(RefreshFailure(FailureKind.UNKNOWN, "timeout"))
            case Fault.SLOW:
                await asyncio.sleep(world.faults.between(11.0, 18.0))
            case Fault.TRUNCATED:
                length = int(world.faults.between(1, len(reply.body)))
                reply = replace(reply, body=reply.body[:length], complete=False)
            case _:
                pass
        await self._travel(flight.server, "answer arrived")
        return RESET if flight.is_cut else reply

    async def _travel(self, server: str, arrived: str) -> None:
        await asyncio.sleep(self._process.world.faults.between(0.01, 0.3))
        await self._process.boundary(server, arrived)
