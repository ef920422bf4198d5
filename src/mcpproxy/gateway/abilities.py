"""What a client declared that it can do, and what it may therefore be asked.

Law: nobody is asked for what it did not declare (2025-11-25 and 2026-07-28, "Capabilities").
"""

from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

ELICIT: Final = "elicitation/create"
MAY_ASK: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests whose client may be asked for more; in the stateless era no others (MRTR)."""
_NEEDED: Final = {
    "sampling/createMessage": "sampling",
    ELICIT: "elicitation",
    "roots/list": "roots",
}


def refusal(capabilities: Members, method: str, params: Raw | None) -> Members | None:
    """The error response to a question that this client cannot be asked; None when it can."""
    needed = "tasks" if method.startswith("tasks/") else _NEEDED.get(method)
    if needed is None or needed not in capabilities:
        why = f"The client did not declare {needed or method}"
        return jsonrpc.error(jsonrpc.METHOD_NOT_FOUND, why)
    try:
        given, able = jsonrpc.members(params), jsonrpc.members(capabilities[needed])
    except ProtocolError as error:
        return jsonrpc.error(jsonrpc.INVALID_PARAMS, error.message)
    if method == ELICIT:
        mode = jsonrpc.text(given.get("mode")) or "form"
        # An empty object is what clients said before there were two modes.
        if mode not in able and (able or mode != "form"):
            why = f"The client did not declare elicitation in mode {mode}"
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, why)
    elif needed == "sampling" and "tools" in given and "tools" not in able:
        return jsonrpc.error(jsonrpc.INVALID_PARAMS, "The client did not declare sampling.tools")
    return None


def can_open_urls(capabilities: Members) -> bool:
    """Whether the person behind the client can be sent to an address."""
    return refusal(capabilities, ELICIT, jsonrpc.raw({"mode": "url"})) is None
