"""HTTP+SSE (2024-11-05), for clients that know nothing newer: `.../sse` and `.../messages`.

Law: the same faces, callers and sessions as over Streamable HTTP; a session lasts as long as its
stream.
"""

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, quote

from msgspec import Raw

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.asgi import Receive, Send, begin_stream, respond, until_gone, write
from mcpproxy.gateway.client_session import ClientSession, Introduced
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.legacy import answered, introduce, refuse, told
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.sessions import ClientSessions
from mcpproxy.gateway.wire import jsonrpc, sse
from mcpproxy.gateway.wire.eras import LEGACY_VERSIONS
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

SSE: Final = "/sse"
MESSAGES: Final = "/messages"
_SESSION: Final = "session_id"


@dataclass(frozen=True, slots=True)
class SseExchange:
    """One HTTP request of an authenticated caller. `path` is where `.../sse` is."""

    sessions: ClientSessions
    limits: GatewayLimits
    caller: Caller
    face: Face
    place: str
    path: str
    send: Send
    receive: Receive
    request_id: str

    async def stream(self) -> None:
        """A new session, and all that is said in it."""
        introduced = Introduced(LEGACY_VERSIONS[-1])
        session = self.sessions.create(self.caller, self.face, self.place + SSE, introduced)
        session.ends_with_stream = True
        session.is_introduced = False
        stream = session.standing_stream()
        if self.sessions.closing:
            stream.end()
        reader = stream.attach()
        gone = asyncio.create_task(until_gone(self.receive))
        gone.add_done_callback(lambda _: stream.detach(reader))
        where = f"{self.path}{MESSAGES}?{_SESSION}={quote(session.id)}"
        try:
            await begin_stream(self.send)
            await write(self.send, sse.event(where.encode(), name="endpoint"))
            await stream.write(self.send, reader)
        finally:
            gone.cancel()
            self.sessions.end(session)

    async def post(self, query: bytes, messages: list[Members]) -> None:
        """Messages of a client; what is answered goes out on its stream."""
        named = parse_qs(query.decode("latin-1")).get(_SESSION, [""])[0]
        session = self.sessions.find(named, self.caller, self.face, self.place + SSE)
        if session is None or session.standing is None:
            return await refuse(self.send, 404, "Session not found: open the stream again")
        requests = [each for each in messages if jsonrpc.kind(each) is Kind.REQUEST]
        if len(session.running) + len(requests) > self.limits.max_client_requests:
            return await refuse(self.send, 429, "Too many requests wait for their answers")
        for message in messages:
            if jsonrpc.kind(message) is not Kind.REQUEST:
                await told(session, message)
        for request in requests:
            self._begin(session, request)
        await respond(self.send, 202)

    def _begin(self, session: ClientSession, request: Members) -> None:
        task = asyncio.create_task(_answer(session, request, self.request_id))
        # Counted and cancelled with its session from now on, not from its first step.
        key = bytes(request["id"])
        session.began(key, task)
        task.add_done_callback(lambda _: self._done(session, key, task))

    def _done(self, session: ClientSession, key: bytes, task: asyncio.Task[None]) -> None:
        session.ended(key, task)
        if self.sessions.closing and not session.running and session.standing is not None:
            session.standing.end()


async def _answer(session: ClientSession, request: Members, request_id: str) -> None:
    stream = session.standing
    if stream is None:
        return
    if jsonrpc.text(request["method"]) == "initialize":
        answer, introduced = await introduce(session.face, session.caller, request)
        if introduced is not None:
            session.introduced = introduced
        stream.put(jsonrpc.answered(answer, request["id"]))
        session.is_introduced = introduced is not None
        return
    told_back = _OnStream(session)
    stream.put(await answered(session, request, told_back.hear, told_back, request_id))


class _OnStream:
    """The sink and `Asker` of a request whose answer goes out on the session's stream."""

    __slots__ = ("_session",)

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    def hear(self, notification: Members) -> None:
        session = self._session
        stream = session.standing
        if stream is not None and session.wants(
            jsonrpc.text(notification.get("method")), notification
        ):
            stream.put(jsonrpc.encode(notification))

    async def ask(self, method: str, params: Raw | None) -> Members:
        return await self._session.ask(method, params, self._session.standing)

    def streamed(self) -> None:
        """It is a stream anyhow."""

    def hung_up(self) -> None:
        """All that this client hears comes on the one stream it has."""
