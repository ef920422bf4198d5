"""What the gateway knows of its connection to an upstream, as facts.

Law: no words for people here; `health` chooses those.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class ConnectionState(StrEnum):
    """What the pool knows of its connection to an upstream."""

    CONNECTED = "connected"
    CONNECTING = "connecting"
    DISCONNECTED = "disconnected"
    ERROR = "error"


class Trouble(StrEnum):
    """Why a connection is not there, as far as it matters to what a person should do."""

    NETWORK = "network"
    LOGIN_NEEDED = "login_needed"
    SCOPE_NEEDED = "scope_needed"
    REJECTED = "rejected"
    NOT_MCP = "not_mcp"
    COMMAND = "command"
    CONFIGURATION = "configuration"
    UPSTREAM = "upstream"
    SILENT = "silent"
    NO_DAEMON = "no_daemon"


@dataclass(frozen=True, slots=True)
class Connection:
    """The facts about one upstream's connection, as the gateway knows them.

    `hidden` counts what it lists that no client could read; `hidden_example` is one of it. `held`
    counts tools that wait for a person's approval.
    """

    state: ConnectionState = ConnectionState.DISCONNECTED
    tool_count: int = 0
    trouble: Trouble | None = None
    error: str | None = None
    retry_at: datetime | None = None
    since: datetime | None = None
    hidden: int = 0
    hidden_example: str = ""
    held: int = 0

    def looks_like(self, other: "Connection") -> bool:
        """Whether they differ in times at most."""
        return replace(self, retry_at=other.retry_at, since=other.since) == other
