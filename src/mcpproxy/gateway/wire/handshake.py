"""The `initialize` handshake with an upstream, as a conversation without I/O.

Law: a refusal is evidence about a version only when the server understood us: a JSON-RPC error
or HTTP 400. Outages, logins and rate limits never reach this code.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.eras import (
    HEADER_MISMATCH,
    LEGACY_VERSIONS,
    MISSING_CAPABILITY,
    UNSUPPORTED_VERSION,
)
from mcpproxy.gateway.wire.jsonrpc import Members

CLIENT_CAPABILITIES: Final = jsonrpc.raw(
    {
        "sampling": {"tools": {}},
        "elicitation": {"form": {}, "url": {}},
        "roots": {"listChanged": True},
    }
)
"""A session of this era may serve many clients: what one of them can, it is told it may ask."""

# Refusals that no other version would change: "session is already initialized" and the like
# would only hide the real reason behind four tries.
_VERSION_CODES: Final = (
    jsonrpc.INVALID_PARAMS,
    jsonrpc.INVALID_REQUEST,
    jsonrpc.UPSTREAM_ERROR,
    jsonrpc.INTERNAL_ERROR,
    UNSUPPORTED_VERSION,
)

# What only servers say that have no handshake.
_FINAL_CODES: Final = (jsonrpc.METHOD_NOT_FOUND, HEADER_MISMATCH, MISSING_CAPABILITY)

_decode_texts: Final = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class BadRequest:
    """HTTP 400 without a JSON-RPC body: how some servers refuse a version they do not know."""

    detail: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the upstream said of itself. `result` is its answer to initialize, untouched."""

    version: str
    result: Members

    @property
    def capabilities(self) -> Members:
        return jsonrpc.members(self.result.get("capabilities"))

    def has(self, capability: str) -> bool:
        return capability in self.capabilities


Handshake = Generator[Raw, Members | BadRequest, Agreed]
"""Yields params of `initialize`, takes the response, returns the agreement."""


def handshake(client_version: str) -> Handshake:
    """Walk down the ladder until a version is agreed. Raises ProtocolError at its foot."""
    refusal = ""
    for version in LEGACY_VERSIONS:
        answer = yield initialize_params(version, client_version)
        if isinstance(answer, BadRequest):
            refusal = answer.detail
            continue
        error = jsonrpc.error_of(answer)
        if error is None:
            return _agreement(answer)
        refusal = error.message or f"error {error.code}"
        if error.code not in _VERSION_CODES or _names_others(error):
            break
    raise ProtocolError(f"initialize was refused: {refusal}")


def initialize_params(version: str, client_version: str) -> Raw:
    return jsonrpc.raw(
        {
            "protocolVersion": version,
            "capabilities": CLIENT_CAPABILITIES,
            "clientInfo": {"name": "mcpproxy", "version": client_version},
        }
    )


def is_final(error: jsonrpc.RpcError | None) -> bool:
    """Whether a refusal with HTTP 400 would be the same for every version we could ask for."""
    return error is not None and (error.code in _FINAL_CODES or _names_others(error))


def _names_others(error: jsonrpc.RpcError) -> bool:
    """Whether it says what the server speaks, and nothing of that has a handshake."""
    supported = supported_in(error)
    return bool(supported) and not set(supported) & set(LEGACY_VERSIONS)


def supported_in(error: jsonrpc.RpcError) -> list[str]:
    """The revisions that a refusal of a revision names; none when it is another refusal."""
    if error.code != UNSUPPORTED_VERSION:
        return []
    try:
        return texts(jsonrpc.members(error.data).get("supported"))
    except (msgspec.DecodeError, ProtocolError):
        return []


def texts(raw: Raw | None) -> list[str]:
    """An array of strings, empty when there is none. Raises msgspec.DecodeError."""
    return [] if raw is None else _decode_texts(raw)


def _agreement(answer: Members) -> Agreed:
    result = jsonrpc.members(answer.get("result"))
    version = jsonrpc.text(result.get("protocolVersion"))
    if version not in LEGACY_VERSIONS:
        raise ProtocolError(f"the server answered initialize with version {version!r}")
    agreed = Agreed(version, result)
    _ = agreed.capabilities  # a server whose capabilities are no object is not an MCP server
    return agreed
