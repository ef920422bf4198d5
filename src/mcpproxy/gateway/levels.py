"""The levels of log messages (RFC 5424), and whether a client wants to hear one."""

from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

SET_LEVEL: Final = "logging/setLevel"
LOG: Final = "notifications/message"
LEVELS: Final = (
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency",
)  # fmt: skip
_RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}


def is_loud_enough(message: Members, least: str | None) -> bool:
    """Whether a log message is at `least` (None: anything is). What says no level is heard."""
    if least is None:
        return True
    try:
        level = jsonrpc.text(jsonrpc.members(message.get("params")).get("level"))
    except ProtocolError:
        return True
    return _RANK.get(level or "", len(LEVELS)) >= _RANK.get(least, 0)
