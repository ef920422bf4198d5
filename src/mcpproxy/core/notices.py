"""What the rooms tell the world: published once, heard by logs, metrics, `/events` and the CLI.

`NAME` is the event's name on `/events`. No notice ever carries a secret.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import RefreshCause, RefreshFailure


@dataclass(frozen=True, slots=True)
class ServersChanged:
    """Something a list of servers would show is different now."""

    NAME: ClassVar[str] = "servers.changed"
    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class RefreshScheduled:
    """The next proactive refresh of a live token set is known."""

    NAME: ClassVar[str] = "oauth.refresh_scheduled"
    server: str
    generation: int
    at: datetime


@dataclass(frozen=True, slots=True)
class RefreshAttempted:
    """A refresh begins."""

    NAME: ClassVar[str] = "oauth.refresh_attempt"
    server: str
    attempt_id: str
    generation: int
    retry: int
    cause: RefreshCause


@dataclass(frozen=True, slots=True)
class RefreshSucceeded:
    """A token set was really issued and is stored."""

    NAME: ClassVar[str] = "oauth.token_refreshed"
    server: str
    attempt_id: str
    generation: int
    duration: timedelta
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class RefreshFailedNotice:
    """A refresh ended without tokens."""

    NAME: ClassVar[str] = "oauth.refresh_failed"
    server: str
    attempt_id: str
    generation: int
    duration: timedelta
    failure: RefreshFailure


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """A failed refresh will be tried again: the `retry`-th time (from 1), at `at`."""

    NAME: ClassVar[str] = "oauth.refresh_retry_scheduled"
    server: str
    generation: int
    retry: int
    at: datetime
    failure: RefreshFailure


@dataclass(frozen=True, slots=True)
class LoginBegan:
    """Somebody started a login; the URL itself is not told here."""

    NAME: ClassVar[str] = "oauth.login_started"
    server: str
    flow_id: str


@dataclass(frozen=True, slots=True)
class LoginSucceeded:
    NAME: ClassVar[str] = "oauth.login_succeeded"
    server: str
    flow_id: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class LoginFailed:
    NAME: ClassVar[str] = "oauth.login_failed"
    server: str
    flow_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LoggedOut:
    NAME: ClassVar[str] = "oauth.logged_out"
    server: str


@dataclass(frozen=True, slots=True)
class LoginLost:
    """A login ended that nobody here ended; told again by each process that starts. The ledger,
    and with it the service level, has each end once.
    """

    NAME: ClassVar[str] = "oauth.login_required"
    server: str
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class LedgerWritten:
    """A line joined the ledger."""

    NAME: ClassVar[str] = "oauth.ledger"
    server: str
    line: LedgerLine


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """One tool call went through the gateway. `outcome` is ok, error, unavailable, overloaded or
    denied. `client` is how the program behind it calls itself; sizes are of its arguments and of
    the result, in bytes. `arguments` are there only where they are to be kept, and not on
    `/events`.
    """

    NAME: ClassVar[str] = "tools.called"
    server: str
    tool: str
    outcome: str
    duration: timedelta
    caller: str = ""
    client: str = ""
    request_id: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    arguments: bytes | None = field(default=None, repr=False)
    method: ClassVar[str] = "tools/call"


@dataclass(frozen=True, slots=True)
class ItemAsked:
    """A server was asked for something that is no tool: `method` is resources/read, prompts/get,
    completion/complete or one of the server's own. `item` is the server's own name or URI of what
    was asked for, without what follows a `?` or `#`. All else is as in tools.called.
    """

    NAME: ClassVar[str] = "items.asked"
    server: str
    item: str
    outcome: str
    duration: timedelta
    method: str
    caller: str = ""
    client: str = ""
    request_id: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    arguments: bytes | None = field(default=None, repr=False)

    @property
    def tool(self) -> str:
        """What a tool's name is of a call."""
        return self.item


Called = ToolCalled | ItemAsked
"""What the log of activity keeps."""


@dataclass(frozen=True, slots=True)
class ToolsRetrieved:
    """Somebody searched for tools. About how many tokens the answer was, and how many a list of
    all their tools would have been.
    """

    NAME: ClassVar[str] = "tools.retrieved"
    found: int
    tokens: int
    all_tokens: int


@dataclass(frozen=True, slots=True)
class Woke:
    """The machine slept, its network changed, or its clock was set; `reason` says which."""

    NAME: ClassVar[str] = "system.woke"
    reason: str
    slept: timedelta


@dataclass(frozen=True, slots=True)
class ConfigReloaded:
    NAME: ClassVar[str] = "config.reloaded"
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreTroubled:
    """The store began or ceased to refuse writes; `trouble` is None when all is well again."""

    NAME: ClassVar[str] = "store.changed"
    trouble: str | None
    detail: str


Notice = (
    ServersChanged
    | RefreshScheduled
    | RefreshAttempted
    | RefreshSucceeded
    | RefreshFailedNotice
    | RetryScheduled
    | LoginBegan
    | LoginSucceeded
    | LoginFailed
    | LoggedOut
    | LoginLost
    | LedgerWritten
    | ToolCalled
    | ItemAsked
    | ToolsRetrieved
    | Woke
    | ConfigReloaded
    | StoreTroubled
)
