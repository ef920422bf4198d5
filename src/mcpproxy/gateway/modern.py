"""The stateless era (2026-07-28) towards clients: every request by itself, however often it must
come back.

Law: what a request says of itself in headers and in `_meta` must agree. Closing the answer's
stream is how a client cancels. A request that is answered at once costs no task.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.asgi import Receive, Send, respond, until_gone
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.dispatch import rpc_error
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.levels import LOG, is_loud_enough
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.listen import Listens
from mcpproxy.gateway.mirrored import argument_disagreement, disagreement, mirrors, params_of
from mcpproxy.gateway.parking import OURS, ParkableCall, ParkingLot, Subject, Turn
from mcpproxy.gateway.reply import Reply
from mcpproxy.gateway.stamping import VISITED, stamped, translated
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

_LEGACY_ONLY: Final = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
)
_LISTEN: Final = "subscriptions/listen"
_ENVELOPE: Final = (
    eras.META_VERSION,
    eras.META_CAPABILITIES,
    eras.META_CLIENT,
    eras.META_LOG_LEVEL,
)
_STATUS: Final = {
    jsonrpc.METHOD_NOT_FOUND: 404,
    eras.HEADER_MISMATCH: 400,
    eras.MISSING_CAPABILITY: 400,
    eras.UNSUPPORTED_VERSION: 400,
    jsonrpc.INVALID_REQUEST: 400,
}
_STATE: Final = "requestState"
_RESPONSES: Final = "inputResponses"


@dataclass(frozen=True, slots=True)
class ModernExchange:
    """One HTTP request of an authenticated caller."""

    caller: Caller
    face: Face
    place: str
    send: Send
    receive: Receive
    limits: GatewayLimits
    lot: ParkingLot
    listens: Listens
    request_id: str


def is_modern(message: Members, headers: Mapping[bytes, bytes]) -> bool:
    """Whether this request belongs to the stateless era: by its header, or by its `_meta`."""
    version = headers.get(b"mcp-protocol-version")
    if version is not None:
        return version.decode("latin-1") not in eras.LEGACY_VERSIONS
    return b"mcp-session-id" not in headers and eras.META_VERSION in params_of(message)[1]


async def serve(exchange: ModernExchange, message: Members, headers: Mapping[bytes, bytes]) -> None:
    if jsonrpc.kind(message) is not Kind.REQUEST:
        return await respond(exchange.send, 202)
    method = jsonrpc.text(message["method"]) or ""
    params, meta = params_of(message)
    try:
        refusal = disagreement(method, params, meta, headers)
        refusal = refusal or _wrong_argument(exchange, method, params, headers)
        capabilities = jsonrpc.members(meta.get(eras.META_CAPABILITIES))
        state = jsonrpc.text(params[_STATE]) if _STATE in params else None
        is_ours = state is not None and state.startswith(OURS)
        responses = jsonrpc.members(params.get(_RESPONSES)) if is_ours else {}
    except ProtocolError as error:
        refusal = jsonrpc.error(jsonrpc.INVALID_PARAMS, error.message)
    if refusal is not None:
        body = jsonrpc.answered(refusal, message["id"])
        return await respond(exchange.send, _STATUS.get(_code(refusal), 400), body)
    if method == _LISTEN:
        return await exchange.listens.serve(
            exchange.face, exchange.caller, message["id"], params, exchange.send, exchange.receive
        )
    turn = Turn(Reply(exchange.send, exchange.limits.max_queued_notices), message["id"])
    subject = _subject(exchange, method, params)
    parked = exchange.lot.take(state, subject) if state is not None and is_ours else None
    if parked is not None:
        await _go_on(exchange, parked, turn, responses)
    elif is_ours:
        gone = jsonrpc.error(jsonrpc.INVALID_PARAMS, "requestState is not valid (any more)")
        await respond(exchange.send, 200, jsonrpc.answered(gone, message["id"]))
    else:
        if state is not None and state.startswith(VISITED):
            params = {k: v for k, v in params.items() if k not in (_STATE, _RESPONSES)}
        await _begin(exchange, subject, turn, params, meta, capabilities)


async def _begin(
    exchange: ModernExchange,
    subject: Subject,
    turn: Turn,
    params: Members,
    meta: Members,
    capabilities: Members,
) -> None:
    """A request that begins here; the task that serves it goes on while it is parked."""
    call = ParkableCall(exchange.lot, subject, capabilities, turn)
    level = jsonrpc.text(meta.get(eras.META_LOG_LEVEL))
    client = Client(
        Era.MODERN,
        f"m{id(call):x}",
        capabilities,
        call,
        level,
        meta.get(eras.META_CLIENT),
        exchange.caller.name,
    )

    def hear(notification: Members) -> None:
        if jsonrpc.text(notification.get("method")) != LOG or (
            level is not None and is_loud_enough(notification, level)
        ):
            call.hear(notification)

    ask = Ask(
        exchange.caller,
        subject.method,
        _without_envelope(params, meta),
        hear,
        client,
        exchange.request_id,
    )
    watch = _Watch(exchange, call, turn)
    try:
        answer = await _answer(exchange, ask, capabilities)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not call.given_up or task is None:
            turn.reply.abandon()
            raise
        task.uncancel()
        return call.abandon()
    finally:
        watch.stop()
    await call.finish(answer, _STATUS.get(_code(answer), 200))


async def _go_on(
    exchange: ModernExchange, call: ParkableCall, turn: Turn, responses: Members
) -> None:
    """The retry of a request that is parked."""
    watch = _Watch(exchange, call, turn)
    try:
        await call.resume(turn, responses)
    finally:
        watch.stop()


class _Watch:
    """Gives a request up when its client goes away. A short one is over before it begins."""

    __slots__ = ("_call", "_exchange", "_task", "_timer", "_turn")

    def __init__(self, exchange: ModernExchange, call: ParkableCall, turn: Turn) -> None:
        self._exchange = exchange
        self._call = call
        self._turn = turn
        self._task: asyncio.Task[None] | None = None
        after = exchange.limits.watch_after.total_seconds()
        self._timer = asyncio.get_running_loop().call_later(after, self._begin)

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.create_task(until_gone(self._exchange.receive))
        self._task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._call.give_up(self._turn)


async def _answer(exchange: ModernExchange, ask: Ask, capabilities: Members) -> Members:
    if ask.method in _LEGACY_ONLY:
        return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {ask.method}")
    try:
        introduction = await exchange.face.introduction(exchange.caller, Era.MODERN)
        if ask.method == "server/discover":
            answer = jsonrpc.result(jsonrpc.raw(_discovered(introduction)))
        else:
            answer = await exchange.face.answer(ask)
        answer = translated(answer, ask.method, capabilities)
        return stamped(answer, ask.method, introduction.get("serverInfo"))
    except McpproxyError as error:
        return rpc_error(error, exchange.face.server or "mcpproxy")


def _discovered(introduction: Members) -> Members:
    known = ("capabilities", "instructions")
    return {
        "supportedVersions": jsonrpc.raw(eras.ALL_VERSIONS),
        **{name: introduction[name] for name in known if name in introduction},
    }


def _wrong_argument(
    exchange: ModernExchange, method: str, params: Members, headers: Mapping[bytes, bytes]
) -> Members | None:
    """Why a call's arguments and the headers that repeat them disagree, or None."""
    if method != "tools/call":
        return None
    name = jsonrpc.text(params.get("name"))
    definition = None if name is None else exchange.face.definition(exchange.caller, name)
    if definition is None or not mirrors(definition):
        return None
    return argument_disagreement(definition, params.get("arguments", b""), headers)


def _subject(exchange: ModernExchange, method: str, params: Members) -> Subject:
    name = params.get(eras.NAME_OF.get(method, ""), b"")
    return Subject(exchange.caller.name, exchange.place, method, bytes(name))


def _without_envelope(params: Members, meta: Members) -> Members:
    """The params without what only concerns us and this client."""
    if "_meta" not in params:
        return params
    left = {name: value for name, value in meta.items() if name not in _ENVELOPE}
    rest = {name: value for name, value in params.items() if name != "_meta"}
    return {**rest, "_meta": jsonrpc.raw(left)} if left else rest


def _code(answer: Members) -> int:
    error = jsonrpc.error_of(answer)
    return 0 if error is None else error.code
