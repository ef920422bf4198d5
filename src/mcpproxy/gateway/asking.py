"""What a legacy upstream asks of us while it works: sampling, elicitation, roots.

Law: a question goes to the client whose call it serves. On whose behalf it is asked must be
certain: when it may be one of several callers, nobody is asked. A call that was given up counts
among them, as the server may not know that or not care.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.abilities import MAY_ASK, refusal
from mcpproxy.gateway.client import Client
from mcpproxy.gateway.flights import Chores, Flight, Flights, Subject
from mcpproxy.gateway.left_behind import Origin
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.task_names import RELATED
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

ROOTS: Final = "roots/list"
ASKABLE: Final = frozenset({"sampling/createMessage", "elicitation/create", ROOTS})
"""What an upstream may ask."""

TOO_MANY: Final = "Too many requests are open"
_NO_ROOTS: Final = jsonrpc.raw({"roots": []})
# Tools and the like of one server that are known to ask.
_MAX_KNOWN: Final = 256


class Questions:
    """The questions of one session. `reply` sends an answer back to the upstream."""

    def __init__(
        self,
        flights: Flights,
        reply: Callable[[bytes], Coroutine[None, None, None]],
        limits: GatewayLimits,
    ) -> None:
        self._flights = flights
        self._reply = reply
        self._limits = limits
        self._open: dict[bytes, asyncio.Task[None]] = {}
        self._refusals = Chores(limits)
        self._known: set[Subject] = set()

    def asked(self, method: str, message: Members, during: int | None) -> None:
        """The upstream asks; `during` is the request on whose stream, if it came on one."""
        key = bytes(message["id"])
        if key in self._open:
            return self._refuse(message, jsonrpc.INVALID_REQUEST, "A request of this id is open")
        if len(self._open) >= self._limits.max_server_requests:
            return self._refuse(message, jsonrpc.UPSTREAM_ERROR, TOO_MANY)
        task = asyncio.create_task(self._answer(method, message, during))
        self._open[key] = task
        task.add_done_callback(lambda _: self._open.pop(key, None))

    def withdrawn(self, message: Members) -> None:
        """The upstream wants no answer any more."""
        request_id = jsonrpc.members(message.get("params")).get("requestId")
        task = self._open.get(bytes(request_id or b""))
        if task is not None:
            task.cancel()

    def cancel(self) -> None:
        self._refusals.cancel()
        for task in list(self._open.values()):
            task.cancel()

    def _refuse(self, message: Members, code: int, why: str) -> None:
        refusal = jsonrpc.error(code, why)
        self._refusals.add(self._reply(jsonrpc.answered(refusal, message.get("id"))))

    async def _answer(self, method: str, message: Members, during: int | None) -> None:
        try:
            answer = await self._found(method, message.get("params"), during)
        except ProtocolError as error:
            answer = jsonrpc.error(jsonrpc.INVALID_PARAMS, error.message)
        except Exception as error:  # a bug must not leave the upstream waiting for ever
            answer = jsonrpc.error(
                jsonrpc.INTERNAL_ERROR, f"internal error: {type(error).__name__}"
            )
        try:
            async with asyncio.timeout(self._limits.tcp_timeout.total_seconds()):
                await self._reply(jsonrpc.answered(answer, message.get("id")))
        except (McpproxyError, TimeoutError):
            return  # the link itself reports what matters

    async def _found(self, method: str, params: Raw | None, during: int | None) -> Members:
        while True:
            flights = self._whose(during, _task_of(params))
            if isinstance(flights, str):
                if method == ROOTS:
                    return jsonrpc.result(_NO_ROOTS)
                why = f"{method} cannot be answered: {flights}"
                return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, why)
            if len(flights) == 1 and method != ROOTS and not self._flights.left_behind():
                self._learn(flights[0])
            flight = _to_ask(flights, method, params, self._known)
            client = flight.call.client
            if method == ROOTS and (client is None or "roots" not in client.capabilities):
                return jsonrpc.result(_NO_ROOTS)
            try:
                with contextlib.ExitStack() as held:
                    if not held.enter_context(self._flights.share(flight.caller)):
                        return jsonrpc.error(jsonrpc.UPSTREAM_ERROR, TOO_MANY)
                    for each in flights:
                        held.enter_context(each.standing_still())
                    with flight.asking():
                        return await ask(flight, method, params, self._limits)
            except asyncio.CancelledError:
                # That call ended: where it was only one of several, the question is another's.
                task = asyncio.current_task()
                if not flight.is_over or len(flights) == 1 or task is None or task.uncancel():
                    raise

    def _learn(self, flight: Flight) -> None:
        """This call certainly asks."""
        if len(self._known) < _MAX_KNOWN:
            self._known.add(flight.subject)

    def _whose(self, during: int | None, task: str | None) -> list[Flight] | str:
        """The calls one of which a question serves, or why that cannot be told."""
        if during is not None:
            flight = self._flights.get(during)
            return "the call it serves has ended" if flight is None else [flight]
        flights = [flight for flight in self._flights if flight.is_somebodys]
        if task is not None:
            # The call that began it was answered long ago: whoever owns it waits for it.
            flights = [flight for flight in flights if flight.task == task]
            several = _callers({flight.origin for flight in flights}) > 1
            return "nobody waits for the task it belongs to" if several or not flights else flights
        if not flights:
            return "no client has a call in flight"
        flying = {flight.origin for flight in flights}
        if not all(origin.has_client for origin in flying):
            return "a call that no client made is in flight, and it does not say whose it is for"
        if _callers(flying) > 1:
            return "several callers have calls in flight, and it does not say whose it is for"
        either = flying | self._flights.left_behind()
        if _callers(either) > 1 or not all(origin.has_client for origin in either):
            return "it may be of another call, which was given up, and does not say whose it is for"
        return flights


def _task_of(params: Raw | None) -> str | None:
    """The task that a question belongs to, by the server's own id. Raises ProtocolError."""
    meta = jsonrpc.members(jsonrpc.members(params).get("_meta"))
    return jsonrpc.text(jsonrpc.members(meta.get(RELATED)).get("taskId"))


def _callers(origins: AbstractSet[Origin]) -> int:
    return len({origin.caller for origin in origins})


def _to_ask(
    flights: list[Flight], method: str, params: Raw | None, known: AbstractSet[Subject]
) -> Flight:
    """Of these calls of one caller, the newest whose client can be asked; of that client's, the
    oldest. Rather one of a tool that is known to ask, or of a method that may.
    """
    # What waits for an answer already hardly asks another thing, unless it is alone.
    idle = [flight for flight in flights if not flight.questions] or flights
    able = [flight for flight in idle if _is_able(flight, method, params)]
    likely = [flight for flight in able if flight.subject in known]
    may = [flight for flight in able if flight.call.method in MAY_ASK]
    best = likely or may or able or idle
    client = best[-1].call.client
    return next((flight for flight in best if _is_of(flight, client)), best[-1])


async def ask(flight: Flight, method: str, params: Raw | None, limits: GatewayLimits) -> Members:
    """The client's response, or an error response. Meanwhile the call's own time stands still."""
    client = flight.call.client
    if client is None or client.asker is None:
        return jsonrpc.error(
            jsonrpc.METHOD_NOT_FOUND, f"{method} cannot be answered: nobody can be asked"
        )
    with flight.standing_still(), flight.lending():
        try:
            async with asyncio.timeout(limits.ask_timeout.total_seconds()):
                return await client.asker.ask(method, params)
        except TimeoutError:
            return jsonrpc.error(jsonrpc.UPSTREAM_ERROR, f"{method} was not answered in time")


def _is_able(flight: Flight, method: str, params: Raw | None) -> bool:
    client = flight.call.client
    if client is None or client.asker is None:
        return False
    return refusal(client.capabilities, method, params) is None


def _is_of(flight: Flight, client: Client | None) -> bool:
    mine = flight.call.client
    return mine is not None and client is not None and mine.key == client.key
