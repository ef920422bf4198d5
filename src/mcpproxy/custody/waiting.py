"""What a caller without a token is told: when there will be one, or who must act. Pure."""

from datetime import datetime

from mcpproxy.core.errors import LoginRequired, RefreshPending
from mcpproxy.core.health import countdown, rfc3339
from mcpproxy.core.lifecycle import Plan, RefreshNow, WaitUntil, offered_again_at
from mcpproxy.core.model import Grant, GrantType
from mcpproxy.core.policy import RefreshPolicy


def token_at(grant: Grant, step: Plan, policy: RefreshPolicy) -> datetime | None:
    """When there may be a token again: made anew, or the refused one offered again. None: a
    refresh is under way, or due.
    """
    at = step.at if isinstance(step, WaitUntil) else None
    if grant.rejected_at is None or isinstance(step, RefreshNow):
        return at
    again = offered_again_at(grant, grant.rejected_at, policy)
    return again if at is None else min(again, at)


def pending(server: str, grant: Grant | None, at: datetime | None, now: datetime) -> RefreshPending:
    """Nothing is lost: say why it takes time and when to call again."""
    run = grant.failures if grant else None
    reason = run.failure.detail if run else "no answer yet"
    when = f"next try at {rfc3339(at)}" if at else "a refresh is under way"
    left = countdown(at - now) if at else "a few seconds"
    return RefreshPending(
        f"The access token of '{server}' is being renewed: {reason}; {when}.",
        retry_at=at,
        next_step=f"Call again in {left}; no login is needed.",
    )


def login_required(server: str, why: str) -> LoginRequired:
    return LoginRequired(
        f"'{server}' needs a login: {why}.", next_step=f"Run `mcpproxy auth login {server}`."
    )


def refused_for_good(server: str, grant: Grant, why: str) -> LoginRequired:
    """What only a person can change: by a login, or by other credentials in the configuration."""
    if grant.grant_type is not GrantType.CLIENT_CREDENTIALS:
        return login_required(server, why)
    return LoginRequired(
        f"The provider refuses the client credentials of '{server}': {why}.",
        next_step="Set its `oauth.client_secret` or `oauth.private_key` right in the "
        f"configuration; `mcpproxy auth login {server}` tries them at once.",
    )
