"""The stateless era (2026-07-28) towards clients: discover, tools, and whatever a face answers.

Law: every request stands alone; what it says of itself in headers and in `_meta` must agree.
Closing the answer's stream is how a client cancels.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.asgi import Receive, Send, respond, until_gone
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.dispatch import rpc_error
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.reply import Reply
from mcpproxy.gateway.session import Sink
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Kind, Members

_LEGACY_ONLY: Final = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
)
_ENVELOPE: Final = (eras.META_VERSION, eras.META_CAPABILITIES, eras.META_CLIENT)
_STATUS: Final = {
    jsonrpc.METHOD_NOT_FOUND: 404,
    eras.HEADER_MISMATCH: 400,
    eras.UNSUPPORTED_VERSION: 400,
    jsonrpc.INVALID_REQUEST: 400,
}
_COMPLETE: Final = jsonrpc.raw("complete")
# Nothing of ours may be kept by anybody without asking again: upstreams come and go.
_UNCACHED: Final = {"ttlMs": jsonrpc.raw(0), "cacheScope": jsonrpc.raw("private")}
_CACHEABLE: Final = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request of an authenticated caller."""

    caller: Caller
    face: Face
    send: Send
    receive: Receive
    limits: GatewayLimits


def is_modern(message: Members, headers: Mapping[bytes, bytes]) -> bool:
    """Whether this request belongs to the stateless era: by its header, or by its `_meta`."""
    version = headers.get(b"mcp-protocol-version")
    if version is not None:
        return version.decode("latin-1") not in eras.LEGACY_VERSIONS
    return b"mcp-session-id" not in headers and eras.META_VERSION in _meta(message)


async def serve(exchange: Exchange, message: Members, headers: Mapping[bytes, bytes]) -> None:
    if jsonrpc.kind(message) is not Kind.REQUEST:
        return await respond(exchange.send, 202)
    refusal = _check(message, headers)
    if refusal is not None:
        status = _STATUS.get(_code(refusal), 400)
        body = jsonrpc.answered(refusal, message["id"])
        return await respond(exchange.send, status, body)
    reply = Reply(exchange.send, exchange.limits.max_queued_notices)
    work = asyncio.create_task(_answer(exchange, message, reply.hear))
    gone = asyncio.create_task(until_gone(exchange.receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            answer = work.result()
            status = _STATUS.get(_code(answer), 200)
            await reply.finish(jsonrpc.answered(answer, message["id"]), status=status)
    finally:
        gone.cancel()
        work.cancel()
        if not work.done():
            reply.abandon()


async def _answer(exchange: Exchange, message: Members, sink: Sink) -> Members:
    method = jsonrpc.text(message["method"]) or ""
    if method in _LEGACY_ONLY:
        return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method}")
    try:
        introduction = await exchange.face.introduction(exchange.caller)
        if method == "server/discover":
            answer = jsonrpc.result(jsonrpc.raw(_discovered(introduction)))
        else:
            params = _without_envelope(jsonrpc.members(message.get("params")))
            answer = await exchange.face.answer(Ask(exchange.caller, method, params, sink))
        return _stamped(answer, method, introduction)
    except McpproxyError as error:
        return rpc_error(error, exchange.face.server or "mcpproxy")


def _discovered(introduction: Members) -> Members:
    known = ("capabilities", "instructions")
    return {
        "supportedVersions": jsonrpc.raw(eras.ALL_VERSIONS),
        **{name: introduction[name] for name in known if name in introduction},
    }


def _stamped(answer: Members, method: str, introduction: Members) -> Members:
    """What this era wants in each result besides what older servers put there."""
    raw = answer.get("result")
    if raw is None:
        return answer
    result = jsonrpc.members(raw)
    result.setdefault("resultType", _COMPLETE)
    if method in _CACHEABLE:
        for name, value in _UNCACHED.items():
            result.setdefault(name, value)
    if "serverInfo" in introduction:
        meta = jsonrpc.members(result.get("_meta"))
        meta.setdefault(eras.META_SERVER, introduction["serverInfo"])
        result["_meta"] = jsonrpc.raw(meta)
    return jsonrpc.result(jsonrpc.raw(result))


def _without_envelope(params: Members) -> Members:
    """The params without what only concerns us and this client."""
    if "_meta" not in params:
        return params
    meta = jsonrpc.members(params["_meta"])
    for name in _ENVELOPE:
        meta.pop(name, None)
    rest = {name: value for name, value in params.items() if name != "_meta"}
    return {**rest, "_meta": jsonrpc.raw(meta)} if meta else rest


def _check(message: Members, headers: Mapping[bytes, bytes]) -> Members | None:
    """Why this request cannot be served, or None."""
    meta = _meta(message)
    version = jsonrpc.text(meta.get(eras.META_VERSION))
    header = _header(headers, b"mcp-protocol-version")
    if version is None or eras.META_CAPABILITIES not in meta:
        wanted = f"{eras.META_VERSION} and {eras.META_CAPABILITIES} must be in params._meta"
        if header is not None and header not in eras.ALL_VERSIONS:
            return _unsupported(header)
        return jsonrpc.error(jsonrpc.INVALID_PARAMS, wanted)
    if header is not None and header != version:
        return _mismatch("MCP-Protocol-Version", version)
    if version not in eras.MODERN_VERSIONS:
        return _unsupported(version)
    method = jsonrpc.text(message["method"]) or ""
    if _header(headers, b"mcp-method") != method:
        return _mismatch("Mcp-Method", method)
    subject = eras.NAME_OF.get(method)
    if subject is not None:
        name = jsonrpc.text(jsonrpc.members(message.get("params")).get(subject))
        if name is not None and _header(headers, b"mcp-name") != name:
            return _mismatch("Mcp-Name", name)
    return None


def _unsupported(version: str) -> Members:
    return jsonrpc.error(
        eras.UNSUPPORTED_VERSION,
        "Unsupported protocol version",
        {"supported": list(eras.ALL_VERSIONS), "requested": version},
    )


def _mismatch(header: str, expected: str) -> Members:
    return jsonrpc.error(
        eras.HEADER_MISMATCH, f"The header {header} must be what the body says: {expected}"
    )


def _meta(message: Members) -> Members:
    try:
        return jsonrpc.members(jsonrpc.members(message.get("params")).get("_meta"))
    except ProtocolError:
        return {}


def _code(answer: Members) -> int:
    error = jsonrpc.error_of(answer)
    return 0 if error is None else error.code


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else eras.from_header(value.decode("latin-1"))
