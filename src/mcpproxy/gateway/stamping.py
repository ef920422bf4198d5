"""What the stateless era wants in an answer besides what older servers put there.

Law: an answer is copied, not understood; it is taken apart only where it may already hold what
would be added.
"""

import secrets
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.abilities import ELICIT, can_open_urls
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members, RpcError

NOT_FOUND: Final = -32002
"""How a resource is missing up to 2025-11-25; since then it is INVALID_PARAMS."""
URL_NEEDED: Final = -32042
"""2025-11-25: the person must first open an address. Since then it is `input_required`."""
VISITED: Final = "mcpproxy-visited"
"""The state under which a client comes back from such an address: nothing waits for it."""

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


def stamped(answer: Members, method: str, server_info: Raw | None) -> Members:
    """The answer as a client of this era expects it. Raises ProtocolError for a result that is
    no object: nothing could be added to it.
    """
    raw = answer.get("result")
    if raw is None:
        return answer
    if method not in _CACHEABLE and (spliced := _spliced(bytes(raw), server_info)) is not None:
        return jsonrpc.result(spliced)
    result = jsonrpc.members(raw)
    result.setdefault("resultType", _COMPLETE)
    if method in _CACHEABLE and bytes(result["resultType"]) == bytes(_COMPLETE):
        for name, value in _UNCACHED.items():
            result.setdefault(name, value)
    if server_info is not None:
        meta = jsonrpc.members(result.get("_meta"))
        meta.setdefault(eras.META_SERVER, server_info)
        result["_meta"] = jsonrpc.raw(meta)
    return jsonrpc.result(jsonrpc.raw(result))


def _spliced(result: bytes, server_info: Raw | None) -> bytes | None:
    """The same without taking the result apart; None where it may hold some of it already, or is
    no object.
    """
    if b'"resultType"' in result or b'"_meta"' in result or b"\\u" in result:
        return None
    whole = result.lstrip()
    if not whole.startswith(b"{"):
        return None
    rest = whole[1:].lstrip()
    head = b'{"resultType":"complete"'
    if server_info is not None:
        head += b',"_meta":{"' + eras.META_SERVER.encode() + b'":' + server_info + b"}"
    return head + (b"" if rest.startswith(b"}") else b",") + rest


def translated(answer: Members, method: str, capabilities: Members) -> Members:
    """An error of an older server, as this era says it."""
    error = jsonrpc.error_of(answer)
    if error is None:
        return answer
    if error.code == NOT_FOUND and method == "resources/read":
        return _recoded(answer, jsonrpc.INVALID_PARAMS)
    if error.code == URL_NEEDED:
        return _addresses(error, capabilities) or answer
    return answer


def _recoded(answer: Members, code: int) -> Members:
    body = jsonrpc.members(answer["error"])
    return {**answer, "error": jsonrpc.raw({**body, "code": code})}


def _addresses(error: RpcError, capabilities: Members) -> Members | None:
    """The addresses that the person must open, as questions; None when none can be read."""
    if not can_open_urls(capabilities):
        needed: dict[str, object] = {"requiredCapabilities": {"elicitation": {"url": {}}}}
        return jsonrpc.error(eras.MISSING_CAPABILITY, error.message, needed)
    try:
        asked = jsonrpc.each(jsonrpc.members(error.data).get("elicitations"))
    except ProtocolError:
        return None
    requests = {f"e{n}": {"method": ELICIT, "params": each} for n, each in enumerate(asked, 1)}
    if not requests:
        return None
    wanted = {
        "resultType": "input_required",
        "inputRequests": requests,
        "requestState": f"{VISITED}:{secrets.token_urlsafe(6)}",
    }
    return jsonrpc.result(jsonrpc.raw(wanted))
