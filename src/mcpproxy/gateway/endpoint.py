"""The MCP endpoint: an ASGI application that serves every transport over HTTP to clients.

Law: here it is decided who asks, at which place and in which of the protocol's ways; each way
stands in its own file. Our own 401 is plain, so that no client starts OAuth against us.
"""

from collections.abc import Callable, Mapping
from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway import modern
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.asgi import Receive, Scope, Send, headers_of, read_body, repeated, respond
from mcpproxy.gateway.downstream import Downstream
from mcpproxy.gateway.legacy import ALLOW, LegacyExchange, Shape, refuse
from mcpproxy.gateway.listen import MAX_BODY, TOO_LONG
from mcpproxy.gateway.listening import LISTEN
from mcpproxy.gateway.place import FaceOf, Place
from mcpproxy.gateway.sse_face import MESSAGES, SSE, SseExchange
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

Authenticate = Callable[[Scope], Caller | None]
"""Who is asking, by the request's credentials; None when nobody we know."""

_PREFIX: Final = "/mcp"
_INITIALIZE: Final = "initialize"
_NO_KEY: Final = (
    "This endpoint needs a key: send it as X-API-Key or as Authorization: Bearer. "
    "`mcpproxy status` says where the key is."
)


class Endpoint:
    """`/mcp` and all below it."""

    def __init__(self, face_of: FaceOf, authenticate: Authenticate, down: Downstream) -> None:
        self._face_of = face_of
        self._authenticate = authenticate
        self._down = down

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        caller = self._authenticate(scope)
        if caller is None:
            return await refuse(send, 401, _NO_KEY)
        path = scope["path"].rstrip("/")
        at = path[path.find(_PREFIX) + len(_PREFIX) :]
        place = self._face_of(at, caller)
        if place is not None:
            return await self._streamable(scope, receive, send, at, place)
        for ending in (SSE, MESSAGES):
            base = at.removesuffix(ending)
            if base != at and (place := self._face_of(base, caller)) is not None:
                return await self._sse(scope, receive, send, base, ending, place)
        await refuse(send, 404, f"Nothing is at {at}")

    # --- Streamable HTTP --------------------------------------------------------------------

    async def _streamable(
        self, scope: Scope, receive: Receive, send: Send, at: str, place: Place
    ) -> None:
        headers = headers_of(scope)
        if len(headers) != len(scope["headers"]) and (twice := repeated(scope)) is not None:
            said = f"The header {twice.decode()} must be there once"
            error = jsonrpc.error(eras.HEADER_MISMATCH, said)
            return await respond(send, 400, jsonrpc.answered(error, None))
        request_id = _request_id(scope)
        down = self._down
        legacy = LegacyExchange(
            down.sessions, place.caller, place.face, at, send, receive, request_id
        )
        match scope["method"]:
            case "POST":
                found = await self._messages(headers, receive, send)
                if found is not None:
                    await self._post(found, headers, legacy)
            case "GET":
                await legacy.get(headers)
            case "DELETE":
                await legacy.delete(headers)
            case _:
                await respond(send, 405, headers=ALLOW)

    async def _post(
        self,
        found: tuple[list[Members], Shape],
        headers: Mapping[bytes, bytes],
        legacy: LegacyExchange,
    ) -> None:
        messages, shape = found
        first = messages[0]
        if modern.is_modern(first, headers):
            if shape is Shape.BATCH:
                return await refuse(legacy.send, 400, "This revision has no batches")
            return await modern.serve(self._down.modern(legacy), first, headers)
        if jsonrpc.text(first.get("method")) == _INITIALIZE:
            return await legacy.initialize(first)
        session = await legacy.session(headers)
        if session is not None:
            await legacy.messages(session, messages, shape, headers.get(b"accept", b""))

    async def _messages(
        self, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> tuple[list[Members], Shape] | None:
        """What a body holds; None when it has been refused."""
        if not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
            await refuse(send, 415, "Content-Type must be application/json")
            return None
        limit, patience = self._down.limits.max_message, self._down.limits.body_timeout
        try:
            body = await read_body(receive, limit, patience)
        except TimeoutError:
            await refuse(send, 408, f"A message arrives within {patience.total_seconds():g} s")
            return None
        if body is None:
            await refuse(send, 413, f"A message has at most {limit} bytes")
            return None
        try:
            messages = jsonrpc.parse(body)
        except ProtocolError as error:
            refusal = jsonrpc.error(jsonrpc.PARSE_ERROR, error.message)
            await respond(send, 400, jsonrpc.answered(refusal, None))
            return None
        shape = Shape.BATCH if jsonrpc.is_batch(body) else Shape.SINGLE
        if (wrong := _wrong(messages, shape, len(body))) is not None:
            await refuse(send, 400, wrong)
            return None
        return messages, shape

    # --- HTTP+SSE ---------------------------------------------------------------------------

    async def _sse(
        self, scope: Scope, receive: Receive, send: Send, base: str, ending: str, place: Place
    ) -> None:
        exchange = SseExchange(
            self._down.sessions,
            self._down.limits,
            place.caller,
            place.face,
            base,
            _PREFIX + base,
            send,
            receive,
            _request_id(scope),
        )
        match (ending, scope["method"]):
            case (e, "GET") if e == SSE:
                await exchange.stream()
            case (e, "POST") if e == MESSAGES:
                found = await self._messages(headers_of(scope), receive, send)
                if found is not None:
                    await exchange.post(scope.get("query_string", b""), found[0])
            case _:
                allow = b"GET" if ending == SSE else b"POST"
                await respond(send, 405, headers=((b"allow", allow),))


def _wrong(messages: list[Members], shape: Shape, size: int) -> str | None:
    """Why a body is refused, or None."""
    for message in messages:
        if (breach := jsonrpc.breach(message)) is not None:
            return breach
        # A batch can only be of a version that was agreed before (2025-03-26, lifecycle).
        if shape is Shape.BATCH and jsonrpc.text(message.get("method")) == _INITIALIZE:
            return "initialize is a message of its own, not part of a batch"
        if size > MAX_BODY and jsonrpc.text(message.get("method")) == LISTEN:
            return TOO_LONG
    return None if messages else "A batch has at least one message"


def _request_id(scope: Scope) -> str:
    """The HTTP request's, as whoever served it before us put it down."""
    found: str = scope.get("state", {}).get("request_id", "")
    return found
