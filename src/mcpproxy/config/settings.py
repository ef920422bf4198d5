"""What is configured, in the form the rest of the program uses.

Law: frozen; checked before it is made; every default stands here once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from mcpproxy.config.listen import DEFAULT_LISTEN, Listen
from mcpproxy.config.locate import Stamps
from mcpproxy.core.control import Control
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy


class RoutingMode(StrEnum):
    """How `/mcp` shows the upstreams' tools."""

    DIRECT = "direct"
    RETRIEVE_TOOLS = "retrieve_tools"


class KeySourceName(StrEnum):
    """Where the vault's key is kept."""

    FILE = "file"
    KEYRING = "keyring"
    ENV = "env"


class LogLevel(StrEnum):
    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Log files and their rotation. `directory` None means the data dir's `logs`."""

    level: LogLevel = LogLevel.INFO
    enable_file: bool = True
    enable_console: bool = True
    directory: Path | None = None
    filename: str = "main.log"
    max_size_mb: int = 10
    max_backups: int = 5
    max_age_days: int = 30
    json_format: bool = False


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """How the program reaches the world. None leaves it to HTTPS_PROXY, NO_PROXY,
    SSL_CERT_FILE and the system's certificates. The proxy's URL may hold a password.
    """

    proxy: Secret | None = None
    no_proxy: tuple[str, ...] = ()
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ActivitySettings:
    """What is kept of the calls, and how long."""

    enabled: bool = True
    max_age: timedelta = timedelta(days=90)
    max_records: int = 100_000
    max_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. `warnings` are for a person, and never stop anything; `stamps` are
    of the files that were read.
    """

    config_path: Path
    data_dir: Path
    api_key: Secret
    listen: Listen = DEFAULT_LISTEN
    require_mcp_auth: bool = True
    routing_mode: RoutingMode = RoutingMode.RETRIEVE_TOOLS
    database_url: Secret | None = None
    key_source: KeySourceName = KeySourceName.FILE
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    log: LogSettings = LogSettings()
    refresh: RefreshPolicy = DEFAULT_POLICY
    outbound: OutboundSettings = OutboundSettings()
    call_timeout: timedelta = timedelta(minutes=2)
    connect_timeout: timedelta = timedelta(seconds=30)
    tools_limit: int = 10
    response_limit: int = 20_000
    control: Control = field(default_factory=Control)
    activity: ActivitySettings = ActivitySettings()
    trusted_hosts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    stamps: Stamps = field(default_factory=dict)
