"""Which era a server speaks, read from its answer to `server/discover`, without I/O.

Law: only what a server of a modern revision alone could say makes it modern, and only an answer
says anything at all. Outages, logins and rate limits never reach this code.
"""

from typing import Final

import msgspec

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.failures import OtherRevision
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed, supported_in, texts
from mcpproxy.gateway.wire.jsonrpc import Members

DISCOVER: Final = "server/discover"

# What a discovery has besides what `initialize` of older revisions answers.
_ENVELOPE: Final = ("supportedVersions", "resultType", "ttlMs", "cacheScope")


def read_discovery(answer: Members) -> Agreed | None:
    """What a modern server says of itself, in the shape of an answer to `initialize`; None when
    this is no modern server.

    Raises OtherRevision when it is one with which we share no revision, or that refuses us.
    """
    error = jsonrpc.error_of(answer)
    if error is not None:
        _check_refusal(error)
        return None
    try:
        result = jsonrpc.members(answer.get("result"))
        supported = texts(result.get("supportedVersions"))
        if not set(supported) & set(eras.MODERN_VERSIONS):
            _check_shared(supported)
            return None
        agreed = Agreed(eras.LATEST_MODERN, _as_introduced(result))
        _ = agreed.capabilities
    except (msgspec.DecodeError, ProtocolError) as unlike:
        if isinstance(unlike, OtherRevision):
            raise
        return None
    return agreed


def _check_refusal(error: jsonrpc.RpcError) -> None:
    if error.code == eras.UNSUPPORTED_VERSION:
        supported = supported_in(error)
        _check_shared(supported)
        if not set(supported) & set(eras.MODERN_VERSIONS):
            return
    if error.code in eras.MODERN_ERRORS:
        raise OtherRevision(f"server/discover was refused: {error.message} ({error.code})")


def _check_shared(supported: list[str]) -> None:
    if supported and not set(supported) & set(eras.ALL_VERSIONS):
        raise OtherRevision(f"the server speaks only {', '.join(supported[:5])}: none that we know")


def _as_introduced(result: Members) -> Members:
    """A discovery as older clients know an introduction: with `serverInfo`."""
    known = {name: value for name, value in result.items() if name not in _ENVELOPE}
    meta = jsonrpc.members(known.pop("_meta", None))
    info = meta.pop(eras.META_SERVER, None)
    if info is not None:
        known.setdefault("serverInfo", info)
    if meta:
        known["_meta"] = jsonrpc.raw(meta)
    known.setdefault("capabilities", jsonrpc.raw({}))
    return known
