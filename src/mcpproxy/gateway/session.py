"""One session with an upstream: the handshake, calls by id, and what the upstream says by itself.

Law: our ids and progress tokens go up, the caller's come back; nothing else of a payload changes.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import Raw

from mcpproxy import __version__
from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.client import Client
from mcpproxy.gateway.failures import Broken, NotMcp
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.link import Link
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed, BadRequest, handshake
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

Sink = Callable[[Members], None]
"""Takes a notification that belongs to one call; returns at once."""

_INITIALIZED: Final = jsonrpc.notification("notifications/initialized")
_PROGRESS: Final = "notifications/progress"


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an upstream, with the caller's params; `sink` hears what precedes the answer.

    `client` is whom the upstream may ask back; None when the call is ours.
    """

    method: str
    params: Members | None = None
    sink: Sink | None = None
    client: Client | None = None


class Listener(Protocol):
    """Who holds the session. Both return at once."""

    def notified(self, method: str, message: Members) -> None:
        """The upstream said something that belongs to no call."""
        ...

    def ended(self, session: "Session", failure: Exception) -> None:
        """The session is of no more use."""
        ...


@dataclass(frozen=True, slots=True)
class _Heard:
    """Where the notifications of one call go, and the progress token its caller chose."""

    sink: Sink
    token: Raw | None


class Session:
    """Requests in flight on one link."""

    def __init__(self, listener: Listener, limits: GatewayLimits) -> None:
        self._listener = listener
        self._limits = limits
        self._ids = itertools.count(1)
        self._heard: dict[int, _Heard] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self.failure: Exception | None = None
        self._in_flight = 0
        self._drained: asyncio.Event | None = None

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
                if failure.status != 400:
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

    async def request(self, call: Call) -> Members:
        """The response to a call, under an id of ours.

        Cancelling it tells the upstream and leaves nothing behind.
        """
        link = self._link
        if link is None:
            raise Broken("the session has not begun")
        request_id = next(self._ids)
        params = call.params
        token: Raw | None = None
        if params is not None and "_meta" in params:
            params, token = _own_token(params, request_id)
        if call.sink is not None:
            self._heard[request_id] = _Heard(call.sink, token)
        self._in_flight += 1
        try:
            body = jsonrpc.request(
                request_id, call.method, None if params is None else jsonrpc.raw(params)
            )
            return await link.exchange(request_id, body)
        except asyncio.CancelledError:
            self._chore(self._tell_cancelled(link, request_id))
            raise
        finally:
            self._heard.pop(request_id, None)
            self._in_flight -= 1
            if self._drained is not None and not self._in_flight:
                self._drained.set()

    async def notify(self, method: str, params: Raw | None) -> None:
        if self._link is not None:
            await self._link.send(jsonrpc.notification(method, params))

    async def retire(self, patience: float) -> None:
        """Let the calls in flight end, for so many seconds; then close."""
        try:
            if self._in_flight:
                self._drained = asyncio.Event()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self._drained.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        link, self._link = self._link, None
        for chore in list(self._chores):
            chore.cancel()
        if link is not None:
            await link.close()

    # --- what arrives ---------------------------------------------------------------------

    def received(self, message: Members, during: int | None) -> None:
        kind = jsonrpc.kind(message)
        method = jsonrpc.text(message.get("method")) or ""
        if kind is Kind.REQUEST:
            self._chore(self._answer(method, message))
        elif kind is Kind.NOTIFICATION:
            if method == _PROGRESS:
                with contextlib.suppress(ProtocolError):
                    self._progressed(message)
            elif during is not None and (heard := self._heard.get(during)) is not None:
                heard.sink(message)
            else:
                self._listener.notified(method, message)

    def lost(self, failure: Exception) -> None:
        self.failure = failure
        self._listener.ended(self, failure)

    def _progressed(self, message: Members) -> None:
        """Progress of one of our calls, under the token its caller chose."""
        params = jsonrpc.members(message.get("params"))
        heard = self._heard.get(jsonrpc.number(params.get("progressToken")) or 0)
        if heard is not None and heard.token is not None:
            params["progressToken"] = heard.token
            heard.sink({**message, "params": jsonrpc.raw(params)})

    async def _answer(self, method: str, message: Members) -> None:
        """Answer a request of the upstream."""
        respond = SERVER_REQUESTS.get(method)
        if respond is None:
            answer = jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, f"{method} is not supported")
        else:
            answer = respond(message)
        if self._link is not None:
            await self._link.send(jsonrpc.answered(answer, message.get("id")))

    # --- chores ---------------------------------------------------------------------------

    async def _exchange(self, link: Link, method: str, params: Raw) -> Members:
        request_id = next(self._ids)
        return await link.exchange(request_id, jsonrpc.request(request_id, method, params))

    async def _tell_cancelled(self, link: Link, request_id: int) -> None:
        params = jsonrpc.raw({"requestId": request_id, "reason": "the caller gave up"})
        await link.send(jsonrpc.notification("notifications/cancelled", params))

    def _chore(self, work: Coroutine[None, None, None]) -> None:
        """Something small that nobody waits for, within a deadline; too many are not done."""
        if len(self._chores) >= self._limits.max_server_requests:
            work.close()
            return
        task = asyncio.create_task(self._bounded(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _bounded(self, work: Coroutine[None, None, None]) -> None:
        try:
            async with asyncio.timeout(self._limits.tcp_timeout.total_seconds()):
                await work
        except (McpproxyError, TimeoutError):
            return  # the link itself reports what matters


def _own_token(params: Members, request_id: int) -> tuple[Members, Raw | None]:
    """The params with our id as progress token, and the token they had.

    Two callers may have chosen the same token; on the one session they share it would be one.
    """
    meta = jsonrpc.members(params["_meta"])
    token = meta.get("progressToken")
    if token is None:
        return params, None
    meta["progressToken"] = jsonrpc.raw(request_id)
    return {**params, "_meta": jsonrpc.raw(meta)}, token


SERVER_REQUESTS: Final[Mapping[str, Callable[[Members], Members]]] = {
    "ping": lambda _: jsonrpc.result(b"{}"),
}
"""What we answer an upstream that asks. We declare no sampling, elicitation or roots."""
