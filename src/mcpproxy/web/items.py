"""What REST says of a server, built from facts.

Law: no field here is or contains a secret. The CLI builds the same items when no daemon runs.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from mcpproxy.core.causes import Level
from mcpproxy.core.connection import Connection
from mcpproxy.core.health import Health, rfc3339
from mcpproxy.core.lifecycle import RefreshNow, WaitUntil, ending, plan
from mcpproxy.core.model import Grant, Transport, Upstream
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy, is_alive
from mcpproxy.core.prediction import predicted_end
from mcpproxy.core.providers import profile_of
from mcpproxy.web.known import ProviderItem, provider_item

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class HealthItem(msgspec.Struct, frozen=True, kw_only=True):
    """The health of a server. `line` is the HEALTH column of `mcpproxy upstream list`."""

    level: str
    admin_state: str
    summary: str
    detail: str
    action: str
    line: str
    cause: str


class FailureItem(msgspec.Struct, frozen=True, kw_only=True):
    """The failures since the last success."""

    count: int
    error: str
    kind: str
    since: Time
    code: str | None = None


class OAuthItem(msgspec.Struct, frozen=True, kw_only=True):
    """The login behind a server. `token_expires_at` is null when the provider does not say,
    `last_refresh_at` is of the last refresh that succeeded, and `ends_at` is when the login will
    end though nothing is wrong with it, as far as that is known.
    """

    authenticated: bool
    token_valid: bool = False
    client_id: str | None = None
    scopes: list[str] = []
    issuer: str | None = None
    logged_in_at: Time | None = None
    token_expires_at: Time | None = None
    last_refresh_at: Time | None = None
    last_attempt_at: Time | None = None
    next_refresh_at: Time | None = None
    ends_at: Time | None = None
    ends_because: str | None = None
    grant_type: str | None = None
    provider: ProviderItem | None = None
    generation: int = 0
    refresh_count: int = 0
    failure: FailureItem | None = None
    ended: str | None = None
    evidence: str | None = None


class ServerItem(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream as it is now."""

    name: str
    url: str | None
    command: str | None
    args: list[str]
    protocol: str
    enabled: bool
    quarantined: bool
    status: str
    connected: bool
    tool_count: int
    last_error: str | None
    retry_at: Time | None
    oauth: OAuthItem | None
    health: HealthItem


class ServerStats(msgspec.Struct, frozen=True, kw_only=True):
    """Servers counted by state and by health; those that are switched off are in no health."""

    total: int
    connected: int
    disabled: int
    quarantined: int
    healthy: int
    degraded: int
    unhealthy: int


def server_item(
    upstream: Upstream,
    health: Health,
    connection: Connection,
    grant: Grant | None,
    now: datetime,
    policy: RefreshPolicy = DEFAULT_POLICY,
) -> ServerItem:
    """Everything that is shown of one server."""
    return ServerItem(
        name=upstream.name,
        url=upstream.url,
        command=upstream.command,
        args=list(upstream.args),
        protocol=_protocol(upstream),
        enabled=upstream.enabled,
        quarantined=upstream.quarantined,
        status=health.status,
        connected=health.status == "connected",
        tool_count=connection.tool_count,
        last_error=connection.error,
        retry_at=_time(connection.retry_at),
        oauth=oauth_item(upstream, grant, now, policy),
        health=health_item(health),
    )


def health_item(health: Health) -> HealthItem:
    return HealthItem(
        level=health.level.value,
        admin_state=health.admin_state,
        summary=health.summary,
        detail=health.detail,
        action=health.action,
        line=health.line,
        cause=health.cause,
    )


def oauth_item(
    upstream: Upstream, grant: Grant | None, now: datetime, policy: RefreshPolicy
) -> OAuthItem | None:
    """None for servers that have no login and were never configured for one."""
    if grant is not None:
        return login_item(grant, now, policy)
    return OAuthItem(authenticated=False) if upstream.oauth is not None else None


def login_item(grant: Grant, now: datetime, policy: RefreshPolicy) -> OAuthItem:
    """A stored login, whether its server is configured or not."""
    ended = ending(grant, now)
    run = grant.refusals or grant.failures
    end = predicted_end(grant)
    return OAuthItem(
        authenticated=ended is None,
        token_valid=ended is None and grant.rejected is None and is_alive(grant.tokens, now),
        client_id=grant.client.client_id,
        scopes=(grant.tokens.scope or grant.scope or "").split(),
        issuer=grant.issuer,
        logged_in_at=rfc3339(grant.logged_in_at),
        token_expires_at=_time(grant.tokens.expires_at),
        last_refresh_at=_time(grant.refreshed_at),
        last_attempt_at=_time(grant.last_begun_at),
        next_refresh_at=_time(next_refresh_at(grant, now, policy)),
        ends_at=rfc3339(end.at) if end else None,
        ends_because=end.because if end else None,
        grant_type=grant.grant_type.value,
        provider=provider_item(profile_of(grant.issuer), grant.learned),
        generation=grant.generation,
        refresh_count=grant.refresh_count,
        failure=FailureItem(
            count=run.count,
            error=run.failure.detail,
            kind=run.failure.kind.value,
            since=rfc3339(run.first_at),
            code=run.failure.code,
        )
        if run
        else None,
        ended=ended.verdict.value if ended else None,
        evidence=ended.evidence if ended else None,
    )


def next_refresh_at(grant: Grant, now: datetime, policy: RefreshPolicy) -> datetime | None:
    """When the next attempt is due; None when nothing is planned."""
    match plan(grant, now, policy):
        case RefreshNow():
            return now
        case WaitUntil(at, _):
            return at
        case _:
            return None


def server_stats(items: Iterable[ServerItem]) -> ServerStats:
    items = list(items)
    active = [item.health.level for item in items if item.health.admin_state == "enabled"]
    return ServerStats(
        total=len(items),
        connected=sum(item.connected for item in items),
        disabled=sum(item.health.admin_state == "disabled" for item in items),
        quarantined=sum(item.health.admin_state == "quarantined" for item in items),
        healthy=active.count(Level.HEALTHY),
        degraded=active.count(Level.DEGRADED),
        unhealthy=active.count(Level.UNHEALTHY),
    )


def _protocol(upstream: Upstream) -> str:
    if upstream.transport is Transport.AUTO and upstream.command is not None:
        return Transport.STDIO.value
    return upstream.transport.value


def _time(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None
