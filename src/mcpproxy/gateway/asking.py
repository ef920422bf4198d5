"""What a legacy upstream asks of us while it works: sampling, elicitation, roots.

Law: a question goes to the client whose call it serves. On whose behalf it is asked must be
certain: when it may be one of several callers, nobody is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.abilities import refusal
from mcpproxy.gateway.flights import Flight, Flights
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

ROOTS: Final = "roots/list"
ASKABLE: Final = frozenset({"sampling/createMessage", "elicitation/create", ROOTS})
"""What an upstream may ask."""

_NO_ROOTS: Final = jsonrpc.raw({"roots": []})


class Questions:
    """The questions of one session. `reply` sends an answer back to the upstream."""

    def __init__(
        self, flights: Flights, reply: Callable[[bytes], Awaitable[None]], limits: GatewayLimits
    ) -> None:
        self._flights = flights
        self._reply = reply
        self._limits = limits
        self._open: dict[bytes, asyncio.Task[None]] = {}

    def asked(self, method: str, message: Members, during: int | None) -> None:
        """The upstream asks; `during` is the request on whose stream, if it came on one."""
        key = bytes(message["id"])
        if key in self._open or len(self._open) >= self._limits.max_server_requests:
            return
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
        for task in list(self._open.values()):
            task.cancel()

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
        flight = self._whose(method, params, during)
        if isinstance(flight, str):
            if method == ROOTS:
                return jsonrpc.result(_NO_ROOTS)
            return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, f"{method} cannot be answered: {flight}")
        client = flight.call.client
        if method == ROOTS and (client is None or "roots" not in client.capabilities):
            return jsonrpc.result(_NO_ROOTS)
        with flight.asking():
            return await ask(flight, method, params, self._limits)

    def _whose(self, method: str, params: Raw | None, during: int | None) -> Flight | str:
        """The call that a question serves, or why that cannot be told."""
        flight = self._flights.get(during)
        if flight is not None:
            return flight
        flights = [flight for flight in self._flights if flight.call.client is not None]
        if not flights:
            return "no client has a call in flight"
        if len({_caller(flight) for flight in flights}) > 1:
            return "several callers have calls in flight, and it does not say whose it is for"
        able = [flight for flight in flights if _is_able(flight, method, params)]
        return (able or flights)[-1]


async def ask(flight: Flight, method: str, params: Raw | None, limits: GatewayLimits) -> Members:
    """The client's response, or an error response. Meanwhile the call's own time stands still."""
    client = flight.call.client
    if client is None or client.asker is None:
        return jsonrpc.error(
            jsonrpc.METHOD_NOT_FOUND, f"{method} cannot be answered: nobody can be asked"
        )
    with flight.standing_still():
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


def _caller(flight: Flight) -> str:
    client = flight.call.client
    return "" if client is None else client.caller or client.key
