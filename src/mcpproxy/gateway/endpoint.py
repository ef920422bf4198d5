"""The MCP endpoint: an ASGI application that serves Streamable HTTP to clients.

Law: one POST, one path: authenticate, read the envelope, find the session, ask the face. Payloads
are not looked into. Our own 401 is plain, so that no client starts OAuth against us.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway import modern
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.asgi import (
    Receive,
    Scope,
    Send,
    begin_stream,
    end_stream,
    headers_of,
    read_body,
    respond,
    until_gone,
    write,
)
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.dispatch import rpc_error
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.place import FaceOf
from mcpproxy.gateway.reply import Reply
from mcpproxy.gateway.session import Sink
from mcpproxy.gateway.sessions import ClientSession, ClientSessions, Outbox
from mcpproxy.gateway.wire import jsonrpc, sse
from mcpproxy.gateway.wire.eras import LEGACY_VERSIONS, agreed_version
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

Authenticate = Callable[[Scope], Caller | None]
"""Who is asking, by the request's credentials; None when nobody we know."""

_PREFIX: Final = "/mcp"
_ALLOW: Final = ((b"allow", b"GET, POST, DELETE"),)
_NO_KEY: Final = (
    "This endpoint needs a key: send it as X-API-Key or as Authorization: Bearer. "
    "`mcpproxy status` says where the key is."
)


class Shape(Enum):
    """How a body holds its messages; the answer has the same form."""

    SINGLE = auto()
    BATCH = auto()


class Endpoint:
    """`/mcp` and all below it."""

    def __init__(
        self,
        face_of: FaceOf,
        authenticate: Authenticate,
        sessions: ClientSessions,
        limits: GatewayLimits,
    ) -> None:
        self._face_of = face_of
        self._authenticate = authenticate
        self._sessions = sessions
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        caller = self._authenticate(scope)
        if caller is None:
            return await _refuse(send, 401, jsonrpc.INVALID_REQUEST, _NO_KEY)
        path = scope["path"].rstrip("/")
        place = path[path.find(_PREFIX) + len(_PREFIX) :]
        found = self._face_of(place, caller)
        if found is None:
            return await _refuse(send, 404, jsonrpc.INVALID_REQUEST, f"Nothing is at {place}")
        exchange = _Exchange(self._sessions, self._limits, found.caller, found.face, place, send)
        headers = headers_of(scope)
        match scope["method"]:
            case "POST":
                await exchange.post(headers, receive)
            case "GET":
                await exchange.get(headers, receive)
            case "DELETE":
                await exchange.delete(headers)
            case _:
                await respond(send, 405, headers=_ALLOW)


class _Exchange:
    """One HTTP request of an authenticated caller."""

    def __init__(
        self,
        sessions: ClientSessions,
        limits: GatewayLimits,
        caller: Caller,
        face: Face,
        place: str,
        send: Send,
    ) -> None:
        self._sessions = sessions
        self._limits = limits
        self._caller = caller
        self._face = face
        self._place = place
        self._send = send

    # --- POST -----------------------------------------------------------------------------

    async def post(self, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        if not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
            return await self._refuse(415, "Content-Type must be application/json")
        body = await read_body(receive, self._limits.max_message)
        if body is None:
            return await self._refuse(
                413, f"A message has at most {self._limits.max_message} bytes"
            )
        try:
            messages = jsonrpc.parse(body)
        except ProtocolError as error:
            return await _refuse(self._send, 400, jsonrpc.PARSE_ERROR, error.message)
        kinds = [jsonrpc.kind(message) for message in messages]
        if not messages or Kind.INVALID in kinds:
            return await self._refuse(400, "A message is a request, a notification or a response")
        first = messages[0]
        if len(messages) == 1 and modern.is_modern(first, headers):
            return await modern.serve(
                modern.Exchange(self._caller, self._face, self._send, receive, self._limits),
                first,
                headers,
            )
        if len(messages) == 1 and jsonrpc.text(first.get("method")) == "initialize":
            return await self._initialize(first)
        session = await self._session(headers)
        if session is not None:
            shape = Shape.BATCH if jsonrpc.is_batch(body) else Shape.SINGLE
            await self._messages(session, messages, shape)

    async def _initialize(self, message: Members) -> None:
        try:
            params = jsonrpc.members(message.get("params"))
            introduction = await self._face.introduction(self._caller)
        except McpproxyError as error:
            answer = rpc_error(error, self._face.server or "mcpproxy")
            return await respond(self._send, 200, jsonrpc.answered(answer, message.get("id")))
        version = agreed_version(jsonrpc.text(params.get("protocolVersion")))
        session = self._sessions.create(self._caller, self._face, self._place, version)
        result = {"protocolVersion": jsonrpc.raw(version), **introduction}
        body = jsonrpc.answered(jsonrpc.result(jsonrpc.raw(result)), message.get("id"))
        await respond(self._send, 200, body, ((b"mcp-session-id", session.id.encode()),))

    async def _messages(
        self, session: ClientSession, messages: list[Members], shape: Shape
    ) -> None:
        requests = [m for m in messages if jsonrpc.kind(m) is Kind.REQUEST]
        for message in messages:
            if jsonrpc.kind(message) is Kind.NOTIFICATION:
                _notified(session, message)
        if not requests:
            return await respond(self._send, 202)
        reply = Reply(self._send, self._limits.max_queued_notices)
        try:
            if shape is Shape.SINGLE:
                body = await self._answer(session, requests[0], reply.hear)
            else:
                answers = (self._answer(session, request, reply.hear) for request in requests)
                body = b"[" + b",".join(await asyncio.gather(*answers)) + b"]"
            await reply.finish(body)
        except BaseException:
            reply.abandon()
            raise

    async def _answer(self, session: ClientSession, request: Members, sink: Sink) -> bytes:
        """The response on the wire, whatever becomes of the request."""
        request_id = request["id"]
        key = bytes(request_id)
        task = asyncio.current_task()
        if task is not None:
            session.in_flight[key] = task
        try:
            method = jsonrpc.text(request["method"]) or ""
            params = jsonrpc.members(request.get("params"))
            answer = await self._face.answer(Ask(self._caller, method, params, sink))
        except ProtocolError as error:
            answer = jsonrpc.error(jsonrpc.INVALID_PARAMS, error.message)
        except asyncio.CancelledError:
            if task is None or key not in session.cancelled:
                raise
            task.uncancel()
            answer = jsonrpc.error(jsonrpc.REQUEST_CANCELLED, "The request was cancelled")
        finally:
            session.in_flight.pop(key, None)
            session.cancelled.discard(key)
        return jsonrpc.answered(answer, request_id)

    # --- GET and DELETE -------------------------------------------------------------------

    async def get(self, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        """The stream of what we say by ourselves; a second one takes the first one's place."""
        if b"text/event-stream" not in headers.get(b"accept", b""):
            return await self._refuse(406, "Accept must allow text/event-stream")
        if b"mcp-session-id" not in headers:
            return await respond(self._send, 405, headers=_ALLOW)
        session = await self._session(headers)
        if session is None:
            return
        outbox = Outbox(self._limits.max_queued_notices)
        if session.outbox is not None:
            session.outbox.end()
        session.outbox = outbox
        gone = asyncio.create_task(until_gone(receive))
        gone.add_done_callback(lambda _: outbox.end())
        try:
            await begin_stream(self._send)
            await self._stream(outbox)
            await end_stream(self._send)
        finally:
            gone.cancel()
            if session.outbox is outbox:
                session.outbox = None

    async def _stream(self, outbox: Outbox) -> None:
        await write(self._send, sse.KEEP_ALIVE)
        while True:
            try:
                message = await outbox.take(self._limits.keep_alive)
            except TimeoutError:
                await write(self._send, sse.KEEP_ALIVE)
                continue
            if message is None:
                return
            await write(self._send, sse.event(message))

    async def delete(self, headers: Mapping[bytes, bytes]) -> None:
        session = await self._session(headers)
        if session is not None:
            self._sessions.end(session)
            await respond(self._send, 204)

    # --- common ---------------------------------------------------------------------------

    async def _session(self, headers: Mapping[bytes, bytes]) -> ClientSession | None:
        """The session the request names; otherwise it is refused here."""
        version = headers.get(b"mcp-protocol-version")
        if version is not None and version.decode("latin-1") not in LEGACY_VERSIONS:
            await self._refuse(400, f"Unsupported protocol version; ours: {LEGACY_VERSIONS}")
            return None
        session_id = headers.get(b"mcp-session-id")
        if session_id is None:
            await self._refuse(400, "Mcp-Session-Id is missing: send initialize first")
            return None
        found = self._sessions.find(
            session_id.decode("latin-1"), self._caller, self._face, self._place
        )
        if found is None:
            await self._refuse(404, "Session not found: send initialize again")
        return found

    async def _refuse(self, status: int, message: str) -> None:
        await _refuse(self._send, status, jsonrpc.INVALID_REQUEST, message)


async def _refuse(send: Send, status: int, code: int, message: str) -> None:
    await respond(send, status, jsonrpc.answered(jsonrpc.error(code, message), None))


def _notified(session: ClientSession, message: Members) -> None:
    """Of a client's notifications one is for us: it gives up a request."""
    if jsonrpc.text(message["method"]) != "notifications/cancelled":
        return
    try:
        request_id = jsonrpc.members(message.get("params")).get("requestId")
    except ProtocolError:
        return
    key = b"" if request_id is None else bytes(request_id)
    task = session.in_flight.get(key)
    if task is not None:
        session.cancelled.add(key)
        task.cancel()
