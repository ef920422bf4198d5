"""The one error tree. Every error says what was wrong and what to do next.

McpproxyError
├── UsageError            2   a command line that cannot be obeyed
├── ConfigError           4   a configuration that cannot be loaded
├── PortInUse             2   the listen address is taken
├── AlreadyRunning        3   another daemon owns the data dir
├── NotPermitted          5   a file or directory is not ours to use
├── UnknownServer        12   no upstream of that name
├── UnknownTool          12   no tool of that name
├── UnknownProfile       12   no profile of that name
├── NotReady             10   nothing is wrong, it only is not there yet
├── StoreError            1   the vault
│   ├── StoreUnavailable       busy, full, read-only, failing
│   ├── StoreCorrupt           not a database any more
│   ├── SchemaTooNew           written by a newer program
│   └── WrongKey               the key does not open what is stored
├── LoginError            1   a login that did not come about
│   ├── LoginDenied            the person or the provider said no
│   ├── LoginTimedOut          nobody finished it in time
│   ├── UnknownLogin           no login waits under that flow
│   ├── CallbackPortBusy  2   the redirect cannot be listened for
│   ├── DiscoveryFailed        no usable authorization server was found
│   └── RegistrationFailed     the provider does not take us as a client
├── TokenUnavailable      1   there is no access token to use now
│   ├── RefreshPending   10   there will be one by itself
│   └── LoginRequired    11   a person must log in
└── UpstreamError         1   the upstream behind a call
    ├── UpstreamUnavailable    not connected, retrying
    ├── UpstreamTimedOut       no answer in time
    ├── Overloaded             more calls at once than are allowed
    └── ProtocolError          what came is not MCP
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import ClassVar


class McpproxyError(Exception):
    """The root: `message` for a person, `next_step` what to do, `exit_code` for scripts.

    `http_status` is the status of a REST answer, `code` the stable word for programs.
    """

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def as_dict(self) -> Mapping[str, object]:
        """The error as programs read it: code, message, next_step."""
        return {"code": self.code, "message": self.message, "next_step": self.next_step}


class UsageError(McpproxyError):
    code = "usage"
    exit_code = 2
    http_status = 400


class ConfigError(McpproxyError):
    """A configuration that cannot be loaded; `problems` has one line for every bad key."""

    code = "config_error"
    exit_code = 4
    http_status = 400

    def __init__(
        self, message: str, *, next_step: str = "", problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.problems = problems

    def as_dict(self) -> Mapping[str, object]:
        return {**super().as_dict(), "problems": list(self.problems)}


class PortInUse(McpproxyError):
    code = "port_in_use"
    exit_code = 2


class AlreadyRunning(McpproxyError):
    code = "already_running"
    exit_code = 3


class NotPermitted(McpproxyError):
    code = "permission_denied"
    exit_code = 5
    http_status = 403


class UnknownServer(McpproxyError):
    code = "unknown_server"
    exit_code = 12
    http_status = 404


class UnknownTool(McpproxyError):
    code = "unknown_tool"
    exit_code = 12
    http_status = 404


class UnknownProfile(McpproxyError):
    code = "unknown_profile"
    exit_code = 12
    http_status = 404


class NotReady(McpproxyError):
    code = "not_ready"
    exit_code = 10
    http_status = 503


class StoreTrouble(StrEnum):
    """Why the store does not take writes. Never a reason to ask anybody to log in."""

    READ_ONLY = "read_only"
    FULL = "full"
    UNAVAILABLE = "unavailable"
    KEY_LOCKED = "key_locked"


class StoreError(McpproxyError):
    """`trouble` is the class of it that health shows."""

    code = "store_error"
    http_status = 503
    trouble: StoreTrouble = StoreTrouble.UNAVAILABLE


class StoreUnavailable(StoreError):
    """The store does not take this now; what is in memory goes on being served."""

    code = "store_unavailable"

    def __init__(
        self,
        message: str,
        *,
        next_step: str = "",
        trouble: StoreTrouble = StoreTrouble.UNAVAILABLE,
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.trouble = trouble


class StoreCorrupt(StoreError):
    code = "store_corrupt"


class SchemaTooNew(StoreError):
    code = "schema_too_new"


class WrongKey(StoreError):
    """The key is missing or another one; nothing is lost, and nothing is overwritten."""

    code = "wrong_key"
    trouble = StoreTrouble.KEY_LOCKED


class LoginError(McpproxyError):
    code = "login_failed"
    http_status = 502


class LoginDenied(LoginError):
    code = "login_denied"


class LoginTimedOut(LoginError):
    code = "login_timed_out"


class UnknownLogin(LoginError):
    """No login waits under this flow or state; it may have ended."""

    code = "unknown_login"
    http_status = 404


class CallbackPortBusy(LoginError):
    code = "callback_port_busy"
    exit_code = 2


class DiscoveryFailed(LoginError):
    code = "discovery_failed"


class RegistrationFailed(LoginError):
    code = "registration_failed"


class TokenUnavailable(McpproxyError):
    code = "token_unavailable"
    http_status = 503


class RefreshPending(TokenUnavailable):
    """No token now; the refresh is retried by itself at `retry_at` (None: it is under way)."""

    code = "refresh_pending"
    exit_code = 10

    def __init__(self, message: str, *, retry_at: datetime | None, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.retry_at = retry_at


class LoginRequired(TokenUnavailable):
    code = "login_required"
    exit_code = 11
    http_status = 409


class UpstreamError(McpproxyError):
    code = "upstream_error"
    http_status = 502


class UpstreamUnavailable(UpstreamError):
    """Not connected; `retry_at` is when the next attempt is due, if one is."""

    code = "upstream_unavailable"

    def __init__(
        self, message: str, *, retry_at: datetime | None = None, next_step: str = ""
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.retry_at = retry_at


class UpstreamTimedOut(UpstreamError):
    code = "upstream_timed_out"
    http_status = 504


class Overloaded(UpstreamError):
    """Nothing was sent: so many calls are under way that this one has to wait its turn."""

    code = "overloaded"
    http_status = 429


class ProtocolError(UpstreamError):
    code = "protocol_error"
