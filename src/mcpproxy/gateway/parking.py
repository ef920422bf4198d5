"""Calls of stateless clients that wait for what their clients were asked (2026-07-28, MRTR).

Law: what we hand out to be handed back is unguessable, holds once, and only for the caller, the
place and the request it was made for. Parked calls are bounded in time and in number; where there
are too many, the caller with the most of them loses its oldest.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from mcpproxy.gateway.abilities import refusal
from mcpproxy.gateway.inquiries import no_answer
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.reply import Reply
from mcpproxy.gateway.shares import Holder, Shares
from mcpproxy.gateway.streams import RUN
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

OURS: Final = f"mcpproxy:{RUN}:"
"""What the states begin with that this run of us handed out; any other is an upstream's, which may
be another mcpproxy.
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a retry must be about to be one: who asks, where, and for what."""

    caller: str
    place: str
    method: str
    name: bytes


@dataclass(slots=True, eq=False)
class _Asked:
    method: str
    params: Raw | None
    answer: "asyncio.Future[Members]"


class Turn:
    """One HTTP request of a call: the first one, or a retry. `over` is done once it is answered."""

    __slots__ = ("over", "reply", "request_id")

    def __init__(self, reply: Reply, request_id: Raw) -> None:
        self.reply = reply
        self.request_id = request_id
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class ParkableCall:
    """A request of a stateless client, over as many turns as it takes. It is the `Asker` of it."""

    __slots__ = (
        "_asked", "_capabilities", "_ended", "_final", "_lot", "_numbers", "_sending", "_task",
        "subject", "turn",
    )  # fmt: skip

    def __init__(self, lot: "ParkingLot", subject: Subject, capabilities: Members, turn: Turn):
        self.subject = subject
        self.turn: Turn | None = turn
        self._lot = lot
        self._capabilities = capabilities
        self._task = asyncio.current_task()
        self._asked: dict[str, _Asked] = {}
        self._numbers = 0
        self._sending: asyncio.Task[None] | None = None
        self._final: tuple[Members, int] | None = None
        self._ended = False

    # --- while it is carried out ------------------------------------------------------------

    async def ask(self, method: str, params: Raw | None) -> Members:
        refused = refusal(self._capabilities, method, params)
        if refused is not None:
            return refused
        if self._ended or len(self._asked) >= self._lot.limits.max_questions:
            return no_answer("The client has too many questions to answer, or is gone")
        self._numbers += 1
        key = f"q{self._numbers}"
        asked = _Asked(method, params, asyncio.get_running_loop().create_future())
        self._asked[key] = asked
        # Not at once: what is asked in the same moment goes out together.
        asyncio.get_running_loop().call_soon(self._park)
        try:
            async with asyncio.timeout(self._lot.limits.ask_timeout.total_seconds()):
                return await asked.answer
        except TimeoutError:
            return no_answer("The client did not answer in time")
        finally:
            self._asked.pop(key, None)

    def streamed(self) -> None:
        """A client of this era comes back to no stream."""

    def hung_up(self) -> None:
        """As `streamed`: it waits on."""

    def hear(self, notification: Members) -> None:
        if self.turn is not None:
            self.turn.reply.hear(notification)

    async def finish(self, answer: Members, status: int) -> None:
        """The response; while nobody waits for it, it is kept for the retry."""
        self._ended = True
        if self._sending is not None:
            await self._sending
        turn, self.turn = self.turn, None
        if turn is None:
            self._final = answer, status
            return
        await turn.reply.finish(jsonrpc.answered(answer, turn.request_id), status=status)
        turn.done()

    # --- between its turns --------------------------------------------------------------------

    def _park(self) -> None:
        turn = self.turn
        if turn is None or not self._asked or self._ended:
            return
        self.turn = None
        requests = {
            key: {"method": asked.method}
            if asked.params is None
            else {"method": asked.method, "params": asked.params}
            for key, asked in self._asked.items()
        }
        body = {
            "resultType": "input_required",
            "inputRequests": requests,
            "requestState": self._lot.park(self),
        }
        answer = jsonrpc.answered(jsonrpc.result(jsonrpc.raw(body)), turn.request_id)
        self._sending = asyncio.create_task(_send(turn, answer))

    async def resume(self, turn: Turn, responses: Members) -> None:
        """Go on with what the client answered; returns once this turn is answered too."""
        if self._sending is not None:
            await self._sending
        self.turn = turn
        if self._final is not None:
            await self.finish(*self._final)
            return
        for key, response in responses.items():
            asked = self._asked.get(key)
            if asked is not None and not asked.answer.done():
                asked.answer.set_result(jsonrpc.result(response))
        if any(not asked.answer.done() for asked in self._asked.values()):
            asyncio.get_running_loop().call_soon(self._ask_again)
        await turn.over

    def _ask_again(self) -> None:
        """What is left unanswered is asked once more, with what came up meanwhile."""
        self._asked = {k: a for k, a in self._asked.items() if not a.answer.done()}
        self._park()

    def give_up(self, turn: Turn | None = None) -> None:
        """Its client is gone, or its time is up; with `turn`, only if that is the one it has."""
        if turn is not None and self.turn is not turn:
            return
        if not self._ended and self._task is not None:
            self._ended = True
            self._task.cancel()

    def abandon(self) -> None:
        """Nobody is answered any more."""
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.reply.abandon()
            turn.done()

    @property
    def given_up(self) -> bool:
        return self._ended


async def _send(turn: Turn, answer: bytes) -> None:
    try:
        await turn.reply.finish(answer)
    finally:
        turn.done()


class ParkingLot:
    """Parked calls by the state that was handed out for each."""

    def __init__(self, limits: GatewayLimits) -> None:
        self.limits = limits
        self._parked: dict[str, tuple[ParkableCall, asyncio.TimerHandle]] = {}
        self._shares: Shares[str] = Shares()

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, call: ParkableCall) -> str:
        state = OURS + secrets.token_urlsafe(24)
        patience = self.limits.ask_timeout.total_seconds()
        timer = asyncio.get_running_loop().call_later(patience, self._expire, state)
        self._parked[state] = (call, timer)
        holder = Holder(call.subject.caller)
        self._shares.add(holder, state)
        if len(self._parked) > self.limits.max_parked:
            self._expire(self._shares.oldest(self._shares.most(holder)))
        return state

    def take(self, state: str, subject: Subject) -> ParkableCall | None:
        """The call that was parked under this state, if it is this one; it holds once."""
        found = self._parked.get(state)
        if found is None or found[0].subject != subject:
            return None
        self._forget(state)
        return found[0]

    def close(self) -> None:
        for state in list(self._parked):
            self._expire(state)

    def _expire(self, state: str) -> None:
        if state in self._parked:
            self._forget(state).give_up()

    def _forget(self, state: str) -> ParkableCall:
        call, timer = self._parked.pop(state)
        self._shares.drop(Holder(call.subject.caller), state)
        timer.cancel()
        return call
