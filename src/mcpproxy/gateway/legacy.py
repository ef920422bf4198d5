"""Sessions over Streamable HTTP (2025-03-26 to 2025-11-25): POST, GET and DELETE.

Law: one POST, one path: find the session, ask the face. Payloads are not looked into, and a
request that is answered at once costs no task.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.asgi import Headers, Receive, Send, respond
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Asker, Era
from mcpproxy.gateway.client_session import SUBSCRIBE, UNSUBSCRIBE, ClientSession, Introduced
from mcpproxy.gateway.dispatch import rpc_error
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.levels import LEVELS, SET_LEVEL
from mcpproxy.gateway.resumable import ResumableReply, read_stream
from mcpproxy.gateway.session import Sink
from mcpproxy.gateway.sessions import ClientSessions
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.eras import LEGACY_VERSIONS, MODERN_VERSIONS, agreed_version
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

_ONLY_POST: Final = ((b"allow", b"POST"),)
ALLOW: Final = ((b"allow", b"GET, POST, DELETE"),)
_STREAM: Final = b"text/event-stream"
_CANCELLED: Final = "notifications/cancelled"
_WISHES: Final = frozenset({SUBSCRIBE, UNSUBSCRIBE})
MAX_INTRODUCTION: Final = 64 * 1024
"""Bytes of a client's info, and of its capabilities: they are kept as long as its session."""
# What only says something of this session, and what nobody but us can make sense of.
_OURS: Final = frozenset({"notifications/initialized", "notifications/progress"})


class Shape(Enum):
    """How a body holds its messages; the answer has the same form."""

    SINGLE = auto()
    BATCH = auto()


@dataclass(frozen=True, slots=True)
class LegacyExchange:
    """One HTTP request of an authenticated caller."""

    sessions: ClientSessions
    caller: Caller
    face: Face
    place: str
    send: Send
    receive: Receive
    request_id: str

    async def initialize(self, message: Members) -> None:
        answer, introduced = await introduce(self.face, self.caller, message)
        headers: Headers = ()
        if introduced is not None:
            session = self.sessions.create(self.caller, self.face, self.place, introduced)
            headers = ((b"mcp-session-id", session.id.encode()),)
        await respond(self.send, 200, jsonrpc.answered(answer, message.get("id")), headers)

    async def messages(
        self, session: ClientSession, messages: list[Members], shape: Shape, accept: bytes
    ) -> None:
        requests = []
        for message in messages:
            if jsonrpc.kind(message) is Kind.REQUEST:
                requests.append(message)
            else:
                await told(session, message)
        if not requests:
            return await respond(self.send, 202)
        if len(session.running) + len(requests) > session.limits.max_client_requests:
            return await refuse(self.send, 429, "Too many requests wait for their answers")
        reply = ResumableReply(session, requests[0]["id"], self.send, self.receive)
        if accept.startswith(_STREAM):  # of two that are welcome, the first named
            reply.streamed()
        try:
            if shape is Shape.SINGLE:
                body = await answered(session, requests[0], reply.hear, reply, self.request_id)
            else:
                answers = (
                    answered(session, each, reply.hear, reply, self.request_id) for each in requests
                )
                body = b"[" + b",".join(await asyncio.gather(*answers)) + b"]"
            await reply.finish(body)
        except BaseException:
            reply.abandon()
            raise

    async def get(self, headers: Mapping[bytes, bytes]) -> None:
        """The stream of what we say by ourselves, or what followed on a stream that broke.

        A second reader takes the first one's place.
        """
        if _is_newer(headers):
            return await respond(self.send, 405, headers=_ONLY_POST)
        if _STREAM not in headers.get(b"accept", b""):
            return await refuse(self.send, 406, "Accept must allow text/event-stream")
        if b"mcp-session-id" not in headers:
            return await respond(self.send, 405, headers=ALLOW)
        session = await self.session(headers)
        if session is None:
            return
        last = headers.get(b"last-event-id", b"").decode("latin-1")
        found = session.resumed(last) if last else None
        stream, after = found or (session.standing_stream(), None)
        if self.sessions.closing:
            stream.end()
        reader = stream.attach()
        try:
            await read_stream(stream, reader, session, self.send, self.receive, after)
        finally:
            stream.detach(reader)

    async def delete(self, headers: Mapping[bytes, bytes]) -> None:
        if _is_newer(headers):
            return await respond(self.send, 405, headers=_ONLY_POST)
        session = await self.session(headers)
        if session is not None:
            self.sessions.end(session)
            await respond(self.send, 204)

    async def session(self, headers: Mapping[bytes, bytes]) -> ClientSession | None:
        """The session the request names; otherwise it is refused here."""
        version = headers.get(b"mcp-protocol-version")
        if version is not None and version.decode("latin-1") not in LEGACY_VERSIONS:
            ours = f"sessions are of {', '.join(LEGACY_VERSIONS)}"
            await refuse(self.send, 400, f"Unsupported protocol version; {ours}")
            return None
        raw = headers.get(b"mcp-session-id")
        if raw is None:
            await refuse(self.send, 400, "Mcp-Session-Id is missing: send initialize first")
            return None
        who = (raw.decode("latin-1"), self.caller, self.face, self.place)
        found = self.sessions.find(*who) or await self.sessions.revive(*who)
        if found is None:
            await refuse(self.send, 404, "Session not found: send initialize again")
        return found


def _is_newer(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a client of the stateless era sends this: it has no sessions and no such stream."""
    return headers.get(b"mcp-protocol-version", b"").decode("latin-1") in MODERN_VERSIONS


async def introduce(
    face: Face, caller: Caller, message: Members
) -> tuple[Members, Introduced | None]:
    """The response to initialize, and what the client said of itself if it succeeded."""
    try:
        params = jsonrpc.members(message.get("params"))
        capabilities = jsonrpc.members(_said(params, "capabilities"))
        info = _said(params, "clientInfo")
    except ProtocolError as error:
        return jsonrpc.error(jsonrpc.INVALID_PARAMS, error.message), None
    try:
        introduction = await face.introduction(caller, Era.LEGACY)
    except McpproxyError as error:
        return rpc_error(error, face.server or "mcpproxy"), None
    version = agreed_version(jsonrpc.text(params.get("protocolVersion")))
    result = {"protocolVersion": jsonrpc.raw(version), **introduction}
    introduced = Introduced(version, capabilities, info)
    return jsonrpc.result(jsonrpc.raw(result)), introduced


def _said(params: Members, name: str) -> Raw | None:
    """What a client says of itself, by itself: as a part it would keep its whole message."""
    raw = params.get(name)
    if raw is None:
        return None
    if len(raw) > MAX_INTRODUCTION:
        raise ProtocolError(f"{name} is larger than {MAX_INTRODUCTION} bytes")
    return raw.copy()


async def answered(
    session: ClientSession, request: Members, sink: Sink, asker: Asker, http_id: str
) -> bytes:
    """The response on the wire, whatever becomes of the request."""
    request_id = request["id"]
    key = bytes(request_id)
    task = asyncio.current_task()
    if task is not None:
        session.began(key, task)
    try:
        method = jsonrpc.text(request["method"]) or ""
        params = jsonrpc.members(request.get("params"))
        if method == SET_LEVEL:
            session.log_level = _level(params)
        ask = Ask(session.caller, method, params, sink, session.client(asker), http_id)
        answer = _whole(await session.face.answer(ask), session.face)
        if method in _WISHES and "result" in answer:
            session.wished(method, jsonrpc.text(params.get("uri")) or "")
    except ProtocolError as error:
        answer = jsonrpc.error(jsonrpc.INVALID_PARAMS, error.message)
    except asyncio.CancelledError:
        if task is None or task not in session.cancelled:
            raise
        task.uncancel()
        answer = jsonrpc.error(jsonrpc.REQUEST_CANCELLED, "The request was cancelled")
    finally:
        if task is not None:
            session.ended(key, task)
    return jsonrpc.answered(answer, request_id)


def _whole(answer: Members, face: Face) -> Members:
    """The answer, or an error in place of a result that is no object: no client could read it."""
    result = answer.get("result")
    if result is None or bytes(memoryview(result)[:1]) == b"{":
        return answer
    try:
        jsonrpc.members(result)
    except ProtocolError as error:
        return rpc_error(error, face.server or "mcpproxy")
    return answer


async def told(session: ClientSession, message: Members) -> None:
    """A notification of a client, or its answer to a question."""
    if "method" not in message:
        return session.inquiries.settle(message)
    method = jsonrpc.text(message["method"]) or ""
    if method == _CANCELLED:
        _give_up(session, message)
    elif method not in _OURS:
        await session.face.told(session.caller, method, message.get("params"))


def _give_up(session: ClientSession, message: Members) -> None:
    try:
        request_id = jsonrpc.members(message.get("params")).get("requestId")
    except ProtocolError:
        return
    key = b"" if request_id is None else bytes(request_id)
    task = session.in_flight.get(key)
    if task is not None:
        session.cancelled.add(task)
        task.cancel()


def _level(params: Members) -> str:
    level = jsonrpc.text(params.get("level"))
    if level not in LEVELS:
        raise ProtocolError(f"level must be one of {', '.join(LEVELS)}")
    return level


async def refuse(send: Send, status: int, message: str, request_id: Raw | None = None) -> None:
    body = jsonrpc.answered(jsonrpc.error(jsonrpc.INVALID_REQUEST, message), request_id)
    await respond(send, status, body)
