"""What a stateless request says of itself, in headers and in `_meta`: whether it agrees.

Law: whoever routes by headers and we who read the body must have seen the same request
(2026-07-28, transports, "Server Validation").
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members
from mcpproxy.gateway.wire.param_headers import (
    InvalidAnnotation,
    ParamHeaders,
    headers_of,
    param_headers,
)

OVER_STDIO: Final = b"x-mcpproxy-stdio"
"""Our own bridge says with this that its client has no headers to repeat anything in."""
_PARAM: Final = b"mcp-param-"


def params_of(message: Members) -> tuple[Members, Members]:
    """The params of a request and their `_meta`; nothing where they are not objects."""
    try:
        params = jsonrpc.members(message.get("params"))
        return params, jsonrpc.members(params.get("_meta"))
    except ProtocolError:
        return {}, {}


def disagreement(
    method: str, params: Members, meta: Members, headers: Mapping[bytes, bytes]
) -> Members | None:
    """Why this request cannot be served, or None."""
    version = jsonrpc.text(meta.get(eras.META_VERSION))
    header = _header(headers, b"mcp-protocol-version")
    if version is None or eras.META_CAPABILITIES not in meta:
        wanted = f"{eras.META_VERSION} and {eras.META_CAPABILITIES} must be in params._meta"
        if header is not None and header not in eras.ALL_VERSIONS:
            return unsupported(header)
        return jsonrpc.error(jsonrpc.INVALID_PARAMS, wanted)
    if header is not None and header != version:
        return _mismatch("MCP-Protocol-Version", version)
    if version not in eras.MODERN_VERSIONS:
        return unsupported(version)
    if _header(headers, b"mcp-method") != method:
        return _mismatch("Mcp-Method", method)
    subject = eras.NAME_OF.get(method)
    if subject is not None:
        name = jsonrpc.text(params.get(subject))
        if name is not None and _header(headers, b"mcp-name") != name:
            return _mismatch("Mcp-Name", name)
    return None


def mirrors(definition: bytes) -> bool:
    """Whether a tool's definition may want any of its arguments in headers."""
    return b"x-mcp-header" in definition


def argument_disagreement(
    definition: bytes, arguments: bytes, headers: Mapping[bytes, bytes]
) -> Members | None:
    """Why a call of this tool cannot be served, or None: an argument and its header differ."""
    if OVER_STDIO in headers and not any(name.startswith(_PARAM) for name in headers):
        return None
    try:
        expected = headers_of(_annotated(definition), arguments)
    except (msgspec.DecodeError, InvalidAnnotation):
        return None
    for name in _annotated(definition).values():
        given = _header(headers, name.lower().encode())
        wanted = expected.get(name)
        told = None if wanted is None else eras.from_header(wanted)
        if given != told and not _same_number(given, told):
            return _mismatch(name, "absent" if told is None else told)
    return None


@lru_cache(maxsize=256)
def _annotated(definition: bytes) -> ParamHeaders:
    return param_headers(definition)


def _same_number(one: str | None, other: str | None) -> bool:
    """`42` and `42.0` are the same argument."""
    if one is None or other is None or not (one + other).isascii():
        return False
    try:
        return len(one) < 40 and len(other) < 40 and float(one) == float(other)
    except ValueError:
        return False


def unsupported(version: str) -> Members:
    return jsonrpc.error(
        eras.UNSUPPORTED_VERSION,
        "Unsupported protocol version",
        {"supported": list(eras.ALL_VERSIONS), "requested": version},
    )


def _mismatch(header: str, expected: str) -> Members:
    return jsonrpc.error(
        eras.HEADER_MISMATCH, f"The header {header} must be what the body says: {expected}"
    )


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else eras.from_header(value.strip(b" \t").decode("latin-1"))
