"""What a scene shows and counts, and the small ports around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mcpproxy.core.causes import Level
from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.errors import LoginRequired, RefreshPending
from mcpproxy.core.health import Health
from mcpproxy.core.notices import Notice
from tests.builders import SERVER_URL
from tests.custody.bench import NAME


@dataclass(frozen=True, slots=True)
class Seen:
    """What one process showed of one server from this moment on."""

    at: float
    process: str
    server: str
    health: Health


@dataclass
class Calls:
    """What became of the calls that a scenario made."""

    served: int = 0
    replayed: int = 0
    rejected: int = 0
    pending: list[RefreshPending] = field(default_factory=list)
    refused: list[LoginRequired] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.served + self.rejected + len(self.pending) + len(self.refused)


@dataclass
class Connections:
    """The port ConnectionFacts: all is connected, unless a scenario says otherwise."""

    known: Mapping[str, Connection]

    def connection(self, server: str) -> Connection:
        return self.known.get(server, Connection(ConnectionState.CONNECTED, tool_count=1))


class Nobody:
    """The port Publisher."""

    def publish(self, notice: Notice) -> None:
        return None


def url_of(server: str) -> str:
    return SERVER_URL if server == NAME else f"https://{server}.example.com/mcp"


def asks(seen: Seen) -> bool:
    """Whether a person would take it for "log in again": what is degraded only offers it."""
    health = seen.health
    demanded = health.action == "login" and health.level is Level.UNHEALTHY
    return demanded or "login required" in health.line.lower()
