"""How a link to an upstream fails, as values with the trouble that health shows of each.

Law: classified once, where the answer is read. Nobody matches on a message.
"""

from datetime import datetime, timedelta
from typing import ClassVar

from mcpproxy.core.connection import Trouble
from mcpproxy.core.errors import (
    LoginRequired,
    McpproxyError,
    ProtocolError,
    UpstreamUnavailable,
)
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.wire.jsonrpc import RpcError


class LinkFailed(UpstreamUnavailable):
    """The link did not carry the message; what became of it the subclasses say."""

    trouble: ClassVar[Trouble] = Trouble.NETWORK


class NotSent(LinkFailed):
    """Nothing of the request can have arrived: it may be sent again."""


class Broken(LinkFailed):
    """The link broke under the request: it may or may not have been carried out."""


class Unauthorized(LinkFailed):
    """401 with no token, or with one that is as good as it gets. `challenge` is its header."""

    trouble = Trouble.LOGIN_NEEDED

    def __init__(self, message: str, *, challenge: str | None, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.challenge = challenge


class Forbidden(LinkFailed):
    """403. `challenge` is its WWW-Authenticate header, which may ask for more scope."""

    trouble = Trouble.REJECTED

    def __init__(self, message: str, *, challenge: str | None, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.challenge = challenge


class ScopeNeeded(Forbidden):
    """403 to a login that lacks a scope (RFC 6750 section 3.1): a new login may bring it."""

    trouble = Trouble.SCOPE_NEEDED


class SessionForgotten(LinkFailed):
    """404 within a session: the upstream has forgotten it and has not looked at the request."""

    trouble = Trouble.UPSTREAM


class Busy(LinkFailed):
    """408, 429 or 5xx: the upstream is there but does not answer now. `status` is HTTP's."""

    trouble = Trouble.UPSTREAM

    def __init__(self, message: str, *, status: int | None = None, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


class NotMcp(LinkFailed):
    """What answers there is not an MCP server of this transport. `status` is HTTP's, if any, and
    `error` the JSON-RPC error that came with it.
    """

    trouble = Trouble.NOT_MCP
    error: RpcError | None = None

    def __init__(self, message: str, *, status: int | None = None, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


class OtherRevision(ProtocolError):
    """A server of the stateless era with which we share no revision, or that refuses us."""


class CommandFailed(LinkFailed):
    """The process of a stdio upstream did not start, or ended."""

    trouble = Trouble.COMMAND


class Misconfigured(LinkFailed):
    """The configuration of this upstream can not work as it is."""

    trouble = Trouble.CONFIGURATION


def trouble_of(why: McpproxyError | None) -> Trouble:
    """What health shows of it; None is an upstream that just went away."""
    if isinstance(why, LinkFailed):
        return why.trouble
    if isinstance(why, LoginRequired):
        return Trouble.LOGIN_NEEDED
    return Trouble.NOT_MCP if isinstance(why, ProtocolError) else Trouble.UPSTREAM


def unavailable(
    server: str, why: McpproxyError | None, retry_at: datetime | None
) -> UpstreamUnavailable | LoginRequired:
    """What a caller hears of it; None is an upstream of which nothing is known yet."""
    reason = why.message if why is not None else "still connecting"
    step = why.next_step if why is not None else ""
    if isinstance(why, Unauthorized | Forbidden) and why.challenge is not None:
        step = f"log in with: mcpproxy auth login {server}"
    said = f"{server} is not available: {reason}"
    if isinstance(why, Unauthorized):
        return LoginRequired(said, next_step=step)
    return UpstreamUnavailable(said, retry_at=retry_at, next_step=step)


def silent(upstream: Upstream, limit: timedelta, method: str = "initialize") -> LinkFailed:
    """A connection that did not come about in time."""
    said = f"no answer to {method} within {limit.total_seconds():g} s"
    return LinkFailed(said) if upstream.url is not None else CommandFailed(said)
