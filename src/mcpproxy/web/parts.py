"""What the web floor is built from; `app.py` fills it in.

Law: the web knows ports, not the rooms behind them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from starlette.types import ASGIApp

from mcpproxy.core.control import Control
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import Transport
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy
from mcpproxy.core.ports import (
    ActivityBook,
    Clock,
    ConnectionFacts,
    GrantFacts,
    LoginDesk,
    LogLines,
    RefreshControl,
    ToolControl,
    UpstreamControl,
    UpstreamDirectory,
)
from mcpproxy.observability.bus import Bus
from mcpproxy.observability.metrics import Metrics
from mcpproxy.observability.monitor import Monitor
from mcpproxy.web.doctor import Check
from mcpproxy.web.guard import GuardRules


@dataclass(frozen=True, slots=True)
class NewServer:
    """A server as a person adds it; `env`, `headers` and the client secret may be `${env:X}`."""

    name: str
    url: str | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    protocol: Transport = Transport.AUTO
    enabled: bool = True
    quarantined: bool | None = None
    """None: as the configuration says of servers that a program adds."""
    client_id: str | None = None
    client_secret: str | None = None
    scopes: tuple[str, ...] = ()
    redirect_uri: str | None = None


class ServerEditor(Protocol):
    """Changes the configuration file; each call is durable and in force when it returns.

    Raises ConfigError (a bad entry, a duplicate name), UnknownServer, NotPermitted.
    """

    async def add(self, server: NewServer) -> None: ...

    async def remove(self, name: str) -> None: ...

    async def enable(self, name: str) -> None: ...

    async def disable(self, name: str) -> None: ...

    async def approve(self, name: str) -> None:
        """End the quarantine."""
        ...

    async def quarantine(self, name: str) -> None:
        """Nothing of it is offered until somebody approves."""
        ...

    async def enable_tools(self, name: str, pattern: str) -> str | None:
        """Switch on the tools of this server whose names match; a remark, if one is due."""
        ...

    async def disable_tools(self, name: str, pattern: str) -> None: ...


class LedgerBook(Protocol):
    """Where the ledger is kept."""

    async def load_ledger(self, server: str, limit: int) -> Sequence[LedgerLine]:
        """The last `limit` lines about this server, oldest first. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """The daemon about itself. Nothing in here is a secret: `key_location` is where, not what."""

    version: str
    pid: int
    listen: str
    endpoint: str
    started_at: datetime
    data_dir: str
    config_path: str
    store: str
    key_location: str
    routing_mode: str
    socket: str | None = None


@dataclass(frozen=True, slots=True)
class WebParts:
    """Everything the web floor needs. `closing` is set when the server begins to stop."""

    clock: Clock
    rules: Callable[[], GuardRules]
    about: Callable[[], DaemonFacts]
    ready: Callable[[], bool]
    checks: Callable[[], Awaitable[Sequence[Check]]]
    directory: UpstreamDirectory
    editor: ServerEditor
    monitor: Monitor
    bus: Bus
    metrics: Metrics
    logs: LogLines
    grants: GrantFacts
    ledger: LedgerBook
    refresh: RefreshControl
    logins: LoginDesk
    connections: ConnectionFacts
    gateway: UpstreamControl
    tools: ToolControl
    control: Callable[[], Control]
    activity: ActivityBook
    mcp: ASGIApp
    policy: RefreshPolicy = DEFAULT_POLICY
    closing: asyncio.Event = field(default_factory=asyncio.Event)
