"""A session with an upstream of the era of handshakes: up to 2025-11-25.

Law: one session serves many clients; it declares what any of them might, and each question of the
upstream finds the one it is for.
"""

import asyncio
import contextlib
from asyncio import Timeout
from typing import Final

from msgspec import Raw

from mcpproxy import __version__
from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.asking import ASKABLE, Questions
from mcpproxy.gateway.client import Asker, Era
from mcpproxy.gateway.failures import Broken, NotMcp
from mcpproxy.gateway.flights import Chores, Flight, Flights, own_token
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.link import Link
from mcpproxy.gateway.session import Call, Listener
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed, BadRequest, handshake, is_final
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

_INITIALIZED: Final = jsonrpc.notification("notifications/initialized")
_PROGRESS: Final = "notifications/progress"
_CANCELLED: Final = "notifications/cancelled"
_PONG: Final = b"{}"


class LegacySession:
    """Requests in flight on one link."""

    era = Era.LEGACY

    def __init__(self, listener: Listener, limits: GatewayLimits) -> None:
        self._listener = listener
        self._limits = limits
        self._flights = Flights(limits)
        self._chores = Chores(limits)
        self._questions = Questions(self._flights, self._send, limits)
        self._link: Link | None = None
        self.failure: Exception | None = None

    async def begin(self, link: Link) -> Agreed:
        """The handshake. Raises LinkFailed, TokenUnavailable or ProtocolError."""
        self._link = link
        talk = handshake(__version__)
        params = next(talk)
        by_http: NotMcp | None = None
        while True:
            answer: Members | BadRequest
            try:
                answer = await self._exchange(link, "initialize", params)
            except NotMcp as failure:
                if failure.status != 400 or is_final(failure.error):
                    raise
                by_http, answer = failure, BadRequest(failure.message)
            try:
                params = talk.send(answer)
            except StopIteration as done:
                agreed: Agreed = done.value
                break
            except ProtocolError:
                if by_http is not None:
                    raise by_http from None
                raise
        link.agreed(agreed)
        await link.send(_INITIALIZED)
        return agreed

    async def request(self, call: Call, deadline: Timeout | None = None) -> Members:
        link = self._link
        if link is None:
            raise Broken("the session has not begun")
        flights = self._flights
        request_id = flights.next_id()
        params = call.params
        token: Raw | None = None
        if params is not None and "_meta" in params:
            params, token = own_token(params, request_id)
        flights.begin(request_id, Flight(call, token, deadline))
        try:
            body = jsonrpc.request(
                request_id, call.method, None if params is None else jsonrpc.raw(params)
            )
            return await link.exchange(request_id, body)
        except asyncio.CancelledError:
            flights.given_up(request_id)
            self._chores.add(self._tell_cancelled(link, request_id))
            raise
        except (Broken, ProtocolError):
            flights.given_up(request_id)
            raise
        finally:
            flights.end(request_id)

    @property
    def awaited(self) -> bool:
        return any(flight.is_somebodys for flight in self._flights)

    async def notify(self, method: str, params: Raw | None) -> None:
        await self._send(jsonrpc.notification(method, params))

    async def check(self) -> None:
        await self.request(Call("ping"))

    async def retire(self, patience: float) -> None:
        try:
            await self._flights.drained(patience)
        finally:
            await self.close()

    async def close(self) -> None:
        link, self._link = self._link, None
        self._chores.cancel()
        self._questions.cancel()
        if link is not None:
            await link.close()

    # --- what arrives ---------------------------------------------------------------------

    def received(self, message: Members, during: int | None) -> None:
        kind = jsonrpc.kind(message)
        method = jsonrpc.text(message.get("method")) or ""
        if kind is Kind.REQUEST:
            if method in ASKABLE:
                self._questions.asked(method, message, during)
            else:
                self._chores.add(self._answer(method, message))
        elif kind is Kind.NOTIFICATION:
            self._noted(method, message, during)
        elif kind is Kind.RESPONSE:
            self._flights.answered_late(message)

    def streamed(self, during: int) -> None:
        if (asker := self._asker(during)) is not None:
            asker.streamed()

    def hung_up(self, during: int) -> None:
        if (asker := self._asker(during)) is not None:
            asker.hung_up()

    def _asker(self, during: int) -> Asker | None:
        flight = self._flights.get(during)
        client = None if flight is None else flight.call.client
        return None if client is None else client.asker

    def lost(self, failure: Exception) -> None:
        self.failure = failure
        self._listener.ended(self, failure)

    def _noted(self, method: str, message: Members, during: int | None) -> None:
        if method == _PROGRESS:
            with contextlib.suppress(ProtocolError):
                self._flights.progressed(message)
            return
        if method == _CANCELLED:
            with contextlib.suppress(ProtocolError):
                self._questions.withdrawn(message)
            return
        if not self._flights.took(method, message, during):
            about = self._flights.about(method, during)
            self._listener.notified(method, message, about)

    # --- chores ---------------------------------------------------------------------------

    async def _answer(self, method: str, message: Members) -> None:
        """Answer a request that no client need be asked about."""
        if method == "ping":
            answer = jsonrpc.result(_PONG)
        else:
            answer = jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, f"{method} is not supported")
        await self._send(jsonrpc.answered(answer, message.get("id")))

    async def _send(self, body: bytes) -> None:
        if self._link is not None:
            await self._link.send(body)

    async def _exchange(self, link: Link, method: str, params: Raw) -> Members:
        request_id = self._flights.next_id()
        return await link.exchange(request_id, jsonrpc.request(request_id, method, params))

    async def _tell_cancelled(self, link: Link, request_id: int) -> None:
        params = jsonrpc.raw({"requestId": request_id, "reason": "the caller gave up"})
        await link.send(jsonrpc.notification(_CANCELLED, params))
