"""What stands for a session with an upstream of the stateless era: 2026-07-28.

Law: each request says all that the upstream may know: the revision, and what the very client
behind it can do. Nothing is kept at the upstream that a restart could lose.
"""

import asyncio
import contextlib
from asyncio import Timeout
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.asking import TOO_MANY
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.failures import Broken, NotMcp, NotSent, SessionForgotten
from mcpproxy.gateway.flights import Chores, Flight, Flights, own_token
from mcpproxy.gateway.input_required import answered_by, wanted_input
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.link import ModernLink
from mcpproxy.gateway.listening import LISTEN, Ear, Listening
from mcpproxy.gateway.session import Call, Listener
from mcpproxy.gateway.stamping import NOT_FOUND
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.discovery import DISCOVER, read_discovery
from mcpproxy.gateway.wire.envelope import Annotations, envelope, headers_for
from mcpproxy.gateway.wire.handshake import Agreed, supported_in
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

_PROGRESS: Final = "notifications/progress"
_CANCELLED: Final = "notifications/cancelled"
_DONE: Final = b"{}"
_OTHER_ERA: Final = "the server does not speak this revision now: {}"
# How servers of the older era answer what they know nothing of, and nothing else.
_REFUSALS: Final = (400, 404)


class ModernSession:
    """Requests to one upstream that remembers none of them."""

    era = Era.MODERN

    def __init__(
        self, listener: Listener, limits: GatewayLimits, log: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._limits = limits
        self._flights = Flights(limits)
        self._chores = Chores(limits)
        self._annotations = Annotations()
        self._listening = Listening(
            self._listen, self._flights.next_id, Ear(listener.notified, self.lost, log), limits
        )
        self._uris: set[str] = set()
        self._log_level: str | None = None
        self._link: ModernLink | None = None
        self._agreed = False
        self.failure: Exception | None = None

    async def begin(self, link: ModernLink) -> Agreed | None:
        """What the upstream says of itself; None when it is none of this era.

        Raises LinkFailed, TokenUnavailable or ProtocolError.
        """
        self._link = link
        agreed = read_discovery(await self._once(Call(DISCOVER), None))
        if agreed is not None:
            self._agreed = True
            self._listening.begin(agreed)
        return agreed

    async def request(self, call: Call, deadline: Timeout | None = None) -> Members:
        if call.method in _INSTEAD:
            return await _INSTEAD[call.method](self, call)
        response = await self._once(call, deadline)
        if "error" in response and await self._lacks_a_header(call, response):
            response = await self._once(call, deadline)
        client = call.client
        if client is not None and client.era is Era.MODERN:
            return response
        if "error" in response:
            return _as_older(call, response)
        if (wanted := wanted_input(response)) is not None:
            return await self._with_answers(call, deadline, wanted)
        return response

    @property
    def awaited(self) -> bool:
        return any(flight.is_somebodys for flight in self._flights)

    async def notify(self, method: str, params: Raw | None) -> None:
        """This era has no notifications of clients."""

    async def check(self) -> None:
        await self._once(Call(DISCOVER), None)

    async def retire(self, patience: float) -> None:
        try:
            await self._listening.close()
            await self._flights.drained(patience)
        finally:
            await self.close()

    async def close(self) -> None:
        link, self._link = self._link, None
        self._chores.cancel()
        await self._listening.close()
        if link is not None:
            await link.close()

    # --- what the older era has -------------------------------------------------------------

    async def pong(self, call: Call) -> Members:
        return jsonrpc.result(_DONE)

    async def subscribe(self, call: Call) -> Members:
        uri = _param(call, "uri")
        self._uris.add(uri)
        if uri in await self._listen_to_uris():
            return jsonrpc.result(_DONE)
        self._uris.discard(uri)
        return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, "The server tells no updates of resources")

    async def unsubscribe(self, call: Call) -> Members:
        uri = _param(call, "uri")
        if uri in self._uris:
            self._uris.discard(uri)
            await self._listen_to_uris()
        return jsonrpc.result(_DONE)

    async def set_log_level(self, call: Call) -> Members:
        self._log_level = _param(call, "level")
        return jsonrpc.result(_DONE)

    async def _listen_to_uris(self) -> frozenset[str]:
        try:
            return await self._listening.want(frozenset(self._uris))
        except TimeoutError:
            return frozenset()

    # --- requests -------------------------------------------------------------------------

    async def _once(self, call: Call, deadline: Timeout | None) -> Members:
        """One request as it goes over the wire, and its response."""
        link = self._link
        if link is None:
            raise Broken("the session has not begun")
        flights = self._flights
        request_id = flights.next_id()
        params = {} if call.params is None else call.params
        token: Raw | None = None
        if "_meta" in params:
            params, token = own_token(params, request_id)
        params = envelope(params, call.client, self._log_level)
        flights.begin(request_id, Flight(call, token, deadline))
        try:
            body = jsonrpc.request(request_id, call.method, jsonrpc.raw(params))
            headers = headers_for(call.method, params, self._annotations)
            response = await link.exchange(request_id, body, headers)
        except asyncio.CancelledError:
            flights.given_up(request_id)
            if not link.closing_cancels:
                self._chores.add(self._tell_cancelled(link, request_id))
            raise
        except NotSent as failure:
            self.lost(failure)
            raise
        except NotMcp as failure:
            self._not_of_this_era(failure)
            raise
        finally:
            flights.end(request_id)
        if "error" in response:
            return self._refusal(response)
        if call.method == "tools/list":
            self._annotations.learn(params, response)
        return response

    async def _lacks_a_header(self, call: Call, response: Members) -> bool:
        """Whether the tool asks for other headers than it did when it was listed."""
        error = jsonrpc.error_of(response)
        if error is None or error.code != eras.HEADER_MISMATCH or call.method != "tools/call":
            return False
        name = _param(call, "name")
        before = self._annotations.of(name)
        cursor: Raw | None = None
        for _ in range(self._limits.max_pages):
            params = None if cursor is None else {"cursor": cursor}
            page = await self._once(Call("tools/list", params), None)
            cursor = jsonrpc.members(page.get("result")).get("nextCursor")
            if cursor is None or jsonrpc.is_null(cursor):
                break
        return self._annotations.of(name) != before

    def _refusal(self, response: Members) -> Members:
        """An error response. Raises SessionForgotten when it says that no server of this era made
        it: then it has not looked at the request.
        """
        error = jsonrpc.error_of(response)
        if error is None or not self._agreed:
            return response
        refused = error.code == jsonrpc.UPSTREAM_ERROR and jsonrpc.is_null(response.get("id"))
        if error.code == eras.UNSUPPORTED_VERSION:
            refused = eras.LATEST_MODERN not in supported_in(error)
        if refused:
            raise SessionForgotten(_OTHER_ERA.format(error.message))
        return response

    def _not_of_this_era(self, failure: NotMcp) -> None:
        """What refuses us now is looked at anew. Raises SessionForgotten when it is certain that
        it did no more than refuse: an older server, in its own words.
        """
        if not self._agreed or failure.status is None or failure.status < 300:
            return
        anew = SessionForgotten(_OTHER_ERA.format(failure.message))
        if failure.status in _REFUSALS and failure.error is not None:
            raise anew from failure
        self.lost(anew)

    async def _with_answers(self, call: Call, deadline: Timeout | None, wanted: Members) -> Members:
        async def retry(more: Members) -> Members:
            params = {**(call.params or {}), **more}
            return await self._once(replace(call, params=params), deadline)

        flight = Flight(call, None, deadline)
        with self._flights.share(flight.caller) as may_ask:
            if not may_ask:
                return jsonrpc.error(jsonrpc.UPSTREAM_ERROR, TOO_MANY)
            return await answered_by(flight, wanted, retry, self._limits)

    async def _listen(self, request_id: int, params: Members) -> Members:
        link = self._link
        if link is None:
            raise Broken("the session has ended")
        sent = envelope(params, None, None)
        body = jsonrpc.request(request_id, LISTEN, jsonrpc.raw(sent))
        try:
            return await link.exchange(
                request_id, body, headers_for(LISTEN, sent, self._annotations)
            )
        except asyncio.CancelledError:
            if not link.closing_cancels:
                self._chores.add(self._tell_cancelled(link, request_id))
            raise

    async def _tell_cancelled(self, link: ModernLink, request_id: int) -> None:
        params = jsonrpc.raw({"requestId": request_id, "reason": "the caller gave up"})
        await link.send(jsonrpc.notification(_CANCELLED, params))

    # --- what arrives ---------------------------------------------------------------------

    def received(self, message: Members, during: int | None) -> None:
        kind = jsonrpc.kind(message)
        if kind is Kind.RESPONSE:
            self._flights.answered_late(message)
        if kind is not Kind.NOTIFICATION:
            return  # a server of this era sends no requests
        method = jsonrpc.text(message.get("method")) or ""
        stream = self._listening.belongs(message, during)
        if stream is not None:
            self._listening.received(stream, method, message)
        elif method == _PROGRESS:
            with contextlib.suppress(ProtocolError):
                self._flights.progressed(message)
        elif not self._flights.took(method, message, during):
            about = self._flights.about(method, during)
            self._listener.notified(method, message, about)

    def streamed(self, during: int) -> None:
        """In this era no stream can be come back to."""

    def hung_up(self, during: int) -> None:
        """As `streamed`."""

    def lost(self, failure: Exception) -> None:
        self.failure = failure
        self._listener.ended(self, failure)


def _as_older(call: Call, response: Members) -> Members:
    """An error in the words of the older era: it has a code of its own for an unknown resource."""
    error = jsonrpc.error_of(response)
    if call.method != "resources/read" or error is None or error.code != jsonrpc.INVALID_PARAMS:
        return response
    said = {**jsonrpc.members(response["error"]), "code": jsonrpc.raw(NOT_FOUND)}
    return {**response, "error": jsonrpc.raw(said)}


def _param(call: Call, name: str) -> str:
    return jsonrpc.text((call.params or {}).get(name)) or ""


_INSTEAD: Final = {
    "ping": ModernSession.pong,
    "resources/subscribe": ModernSession.subscribe,
    "resources/unsubscribe": ModernSession.unsubscribe,
    "logging/setLevel": ModernSession.set_log_level,
}
"""What older clients ask and this era has not, and what is done instead."""
