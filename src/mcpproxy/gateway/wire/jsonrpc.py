"""JSON-RPC 2.0 envelopes: read as little as is needed, write the rest back as it came.

Law: a message is its members as raw JSON. Only `id`, `method` and what a caller asks for by name
are ever decoded; everything else is copied byte for byte, unknown members included.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire.mend import mended

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
UPSTREAM_ERROR: Final = -32000
REQUEST_CANCELLED: Final = -32800

Members = dict[str, Raw]
"""A JSON object whose values nobody has looked into yet."""

_VERSION: Final = Raw(b'"2.0"')
_NULL: Final = Raw(b"null")
_ID_BEGINS: Final = frozenset(bytes((each,)) for each in b'"-0123456789')

_decode_members: Final = msgspec.json.Decoder(Members).decode
_decode_batch: Final = msgspec.json.Decoder(list[Members]).decode
_decode_each: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
encode: Final = msgspec.json.Encoder().encode


class Kind(StrEnum):
    """What a message is, by the members it has."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"
    INVALID = "invalid"


class RpcError(msgspec.Struct, frozen=True):
    """A JSON-RPC error object, as far as the proxy acts on it."""

    code: int = INTERNAL_ERROR
    message: str = ""
    data: Raw = Raw()


_decode_error: Final = msgspec.json.Decoder(RpcError).decode


def parse(body: bytes) -> list[Members]:
    """The messages of a body: one, or the several of a 2025-03-26 batch. Half a character in it
    is replaced: it must not cost the message.

    Raises ProtocolError when it is not JSON, not an object or an array of objects, or too deep.
    """
    decode = _decode_batch if is_batch(body) else _decode_one
    try:
        try:
            return decode(body)
        except msgspec.DecodeError:
            if (whole := mended(body)) == body:
                raise
            return decode(whole)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"not a JSON-RPC message: {error}") from error


def _decode_one(body: bytes) -> list[Members]:
    return [_decode_members(body)]


def is_batch(body: bytes) -> bool:
    return body.lstrip()[:1] == b"["


def members(raw: Raw | bytes | None) -> Members:
    """The members of a raw object; empty when there is none. Raises ProtocolError."""
    if not raw:
        return {}
    try:
        return _decode_members(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"an object was expected: {error}") from error


def each(raw: Raw | bytes | None) -> list[Raw]:
    """The elements of a raw array; none when there is none. Raises ProtocolError."""
    if not raw:
        return []
    try:
        return _decode_each(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"an array was expected: {error}") from error


def text(raw: Raw | None) -> str | None:
    """The string this is, or None when it is anything else."""
    if not raw:
        return None
    try:
        return _decode_text(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def is_null(raw: Raw | None) -> bool:
    return raw is None or bytes(raw) == b"null"


def kind(message: Members) -> Kind:
    if "method" in message:
        if bytes(message["method"])[:1] != b'"':
            return Kind.INVALID
        if "id" not in message:
            return Kind.NOTIFICATION
        # A request's id is a string or a number, and not null (2025-11-25, "Requests").
        return Kind.REQUEST if bytes(message["id"])[:1] in _ID_BEGINS else Kind.INVALID
    if "id" in message and ("result" in message or "error" in message):
        return Kind.RESPONSE
    return Kind.INVALID


def breach(message: Members) -> str | None:
    """What a client's message has against it; servers are read more kindly.

    JSON-RPC 2.0, sections 4 and 5; a request's id is a string or an integer (2025-11-25,
    "Requests").
    """
    if kind(message) is Kind.INVALID:
        return "A message is a request, a notification or a response"
    if message.get("jsonrpc") != _VERSION:
        return 'A message has the member "jsonrpc": "2.0"'
    if "id" in message and "method" in message and not _is_id(bytes(message["id"])):
        return "A request's id is a string or an integer"
    return None


def _is_id(raw: bytes) -> bool:
    """Some write an integer as 1.0: only what is left over makes it another number."""
    return raw.isdigit() or raw[:1] == b'"' or float(raw).is_integer()


def number(raw: Raw | None) -> int | None:
    """A request id of ours as it came back: an integer, or the same in quotes."""
    digits = bytes(raw).strip(b'"') if raw else b""
    # 18 digits are more than any counter of ours and no work for int().
    return int(digits) if digits.isdigit() and len(digits) <= 18 else None


def error_of(message: Members) -> RpcError | None:
    """The error of a response; None when it has a result."""
    raw = message.get("error")
    if raw is None:
        return None
    try:
        return _decode_error(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return RpcError(INTERNAL_ERROR, "the error object is malformed")


def raw(value: object) -> Raw:
    """Any plain value as raw JSON."""
    return Raw(encode(value))


def request(request_id: int, method: str, params: Raw | None = None) -> bytes:
    message = {"jsonrpc": _VERSION, "id": Raw(b"%d" % request_id), "method": raw(method)}
    if params is not None:
        message["params"] = params
    return encode(message)


def notification(method: str, params: Raw | None = None) -> bytes:
    message = {"jsonrpc": _VERSION, "method": raw(method)}
    if params is not None:
        message["params"] = params
    return encode(message)


def result(payload: Raw | bytes) -> Members:
    """A response without its id yet; `payload` is JSON."""
    return {"jsonrpc": _VERSION, "id": _NULL, "result": Raw(payload)}


def error(code: int, message: str, data: Mapping[str, object] | None = None) -> Members:
    """An error response without its id yet."""
    body: dict[str, object] = {"code": code, "message": message}
    if data:
        body["data"] = data
    return {"jsonrpc": _VERSION, "id": _NULL, "error": raw(body)}


def answered(response: Members, request_id: Raw | None) -> bytes:
    """The response on the wire, under the id its asker gave the request."""
    response["id"] = _NULL if request_id is None else request_id
    return encode(response)
