"""From facts to health: which causes apply to a server, and which one is shown.

Law: `assess` is pure; every surface calls it and shows the same cause.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Final

from mcpproxy.core.causes import CAUSE_BY_NAME, RANK, Cause, Level
from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import StoreTrouble
from mcpproxy.core.lifecycle import (
    NEVER,
    RefreshNow,
    WaitUntil,
    can_refresh,
    ending,
    offered_again_at,
    own_words,
    plan,
    repairs_client,
)
from mcpproxy.core.model import FailureKind, FailureRun, Grant, Suspect, Verdict
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy, is_alive
from mcpproxy.core.prediction import predicted_end
from mcpproxy.core.repair import GONE

_ENDING_CAUSE: Final = {
    Verdict.PROVIDER_ENDED: "grant_ended",
    Verdict.LOST_IN_TRANSIT: "grant_lost_in_transit",
    Verdict.CLIENT_ENDED: "client_ended",
    Verdict.NO_REFRESH_TOKEN: "no_refresh_token",
    Verdict.CREDENTIALS_REFUSED: "credentials_refused",
}
_TROUBLE_CAUSE: Final = {
    Trouble.NETWORK: "unreachable",
    Trouble.LOGIN_NEEDED: "login_required",
    Trouble.SCOPE_NEEDED: "scope_needed",
    Trouble.REJECTED: "rejected",
    Trouble.NOT_MCP: "not_mcp",
    Trouble.COMMAND: "command_failed",
    Trouble.CONFIGURATION: "misconfigured",
    Trouble.UPSTREAM: "unreachable",
    Trouble.SILENT: "not_answering",
    Trouble.NO_DAEMON: "daemon_absent",
}

_STORE_WORDS: Final = {
    StoreTrouble.FULL: "the disk is full",
    StoreTrouble.READ_ONLY: "the disk is read-only",
    StoreTrouble.UNAVAILABLE: "the store is unavailable",
    StoreTrouble.KEY_LOCKED: "its key is locked",
}
ASKS_TO_WAIT: Final = frozenset({429, 503})
"""With a Retry-After they are a request to wait (RFC 6585 section 4, RFC 9110 section 10.2.3)."""

WARN_BEFORE: Final = timedelta(days=3)
"""How long before a login's predicted end its health says so."""


@dataclass(frozen=True, slots=True)
class Seeding:
    """A login with client credentials that is being made. With an `error` the last try failed;
    the next is at `retry_at`.
    """

    error: str | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known about one server at one moment."""

    enabled: bool = True
    quarantined: bool = False
    connection: Connection = field(default_factory=Connection)
    grant: Grant | None = None
    login_until: datetime | None = None
    store_trouble: StoreTrouble | None = None
    woken_at: datetime | None = None
    damage: str | None = None
    held_until: datetime | None = None
    seeding: Seeding | None = None
    logged_out_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What is shown of a server. `line` is the CLI's HEALTH column without its level."""

    status: str
    level: Level
    admin_state: str
    cause: str
    line: str
    summary: str
    detail: str
    action: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a cause's templates may speak of."""

    at: datetime | None = None
    n: int = 0
    error: str = ""
    until: datetime | None = None


def assess(
    snapshot: Snapshot,
    now: datetime,
    policy: RefreshPolicy = DEFAULT_POLICY,
    *,
    zone: tzinfo | None = None,
) -> Health:
    """The health of a server. `zone` is for times of day in `line`; None is UTC's."""
    cause, facts = min(_applying(snapshot, now, policy), key=lambda pair: RANK[pair[0].name])
    words = _words(facts, snapshot.connection.tool_count, now, zone)
    return Health(
        status=_status(snapshot, cause),
        level=cause.level,
        admin_state=_admin_state(snapshot),
        cause=cause.name,
        line=cause.line.format_map(words),
        summary=cause.summary.format_map(words),
        detail=cause.detail.format_map(words),
        action=cause.action.value,
    )


def changes_at(
    snapshot: Snapshot, now: datetime, policy: RefreshPolicy = DEFAULT_POLICY
) -> datetime:
    """When the cause may be another though no fact changes; NEVER when it cannot."""
    grant = snapshot.grant
    if grant is None:
        return NEVER
    moments = [NEVER]
    if grant.tokens.expires_at is not None:
        moments.append(grant.tokens.expires_at)
    step = plan(grant, now, policy, woken_at=snapshot.woken_at)
    if isinstance(step, WaitUntil):
        moments.append(step.at)
    end = predicted_end(grant)
    if end is not None:
        moments += [end.at - WARN_BEFORE, end.at]
    return min(moment for moment in moments if moment > now)


def _applying(
    snapshot: Snapshot, now: datetime, policy: RefreshPolicy
) -> Iterator[tuple[Cause, Facts]]:
    for name, facts in _names(snapshot, now, policy):
        yield CAUSE_BY_NAME[name], facts


def _names(snapshot: Snapshot, now: datetime, policy: RefreshPolicy) -> Iterator[tuple[str, Facts]]:
    if not snapshot.enabled:
        yield "disabled", Facts()
    if snapshot.quarantined:
        yield "quarantined", Facts()
    yield from _store_names(snapshot)
    if snapshot.damage is not None:
        yield "grant_damaged", Facts(error=snapshot.damage)
    if snapshot.login_until is not None:
        yield "login_pending", Facts(at=snapshot.login_until)
    seeding = snapshot.seeding
    if seeding is not None and seeding.error is not None:
        yield "credentials_retrying", Facts(at=seeding.retry_at, error=seeding.error)
    elif seeding is not None:
        yield "credentials_fetching", Facts()
    connection = snapshot.connection
    if snapshot.grant is not None:
        yield from _grant_names(snapshot.grant, now, policy, snapshot)
        if connection.trouble is Trouble.LOGIN_NEEDED:
            # Said before these facts were there: whether a login is needed, the grant says.
            connection = Connection(ConnectionState.CONNECTING)
    elif snapshot.logged_out_at is not None and connection.trouble is Trouble.LOGIN_NEEDED:
        yield "logged_out", Facts(at=snapshot.logged_out_at)
    if connection.state is ConnectionState.CONNECTED and connection.held:
        yield "tools_held", Facts(n=connection.held)
    if connection.state is ConnectionState.CONNECTED and connection.hidden:
        yield "items_hidden", Facts(n=connection.hidden, error=connection.hidden_example)
    yield _connection_name(connection)


def _store_names(snapshot: Snapshot) -> Iterator[tuple[str, Facts]]:
    """The store's trouble is the trouble of those who have a login, or may have one: nobody is
    asked to log in because a record cannot be read.
    """
    trouble, has_login = snapshot.store_trouble, snapshot.grant is not None
    if trouble is None:
        return
    facts = Facts(error=_STORE_WORDS[trouble])
    if snapshot.connection.trouble is Trouble.LOGIN_NEEDED or has_login:
        if trouble is StoreTrouble.KEY_LOCKED:
            yield "key_locked", facts
        else:
            yield "store_unwritable" if has_login else "store_unreadable", facts


def _grant_names(
    grant: Grant, now: datetime, policy: RefreshPolicy, snapshot: Snapshot
) -> Iterator[tuple[str, Facts]]:
    step = plan(grant, now, policy, woken_at=snapshot.woken_at)
    held_until = snapshot.held_until if isinstance(step, RefreshNow) else None
    next_at = step.at if isinstance(step, WaitUntil) else held_until or now
    ended = ending(grant, now)
    if ended is not None:
        yield _ENDING_CAUSE[ended.verdict], Facts(at=next_at, error=ended.evidence)
        return
    alive = is_alive(grant.tokens, now) and grant.rejected is None
    if grant.refusals is not None:
        said = own_words(grant.refusals.failure)
        if repairs_client(grant):
            yield "client_renewing", Facts(at=next_at, error=said)
        yield "refresh_refused", Facts(at=next_at, error=said)
    elif grant.failures is not None:
        yield from _failure_names(grant.failures, next_at, is_needed=not alive)
    if grant.rejected is not None and grant.rejections > 1:
        yield "rejected_though_fresh", Facts(at=next_at, n=grant.rejections)
    if grant.rejected_at is not None and not isinstance(step, RefreshNow):
        again = offered_again_at(grant, grant.rejected_at, policy)
        yield "token_rejected", Facts(at=max(again, now))
    if not alive and held_until is not None:
        yield "refresh_held", Facts(at=held_until)
    if not alive:
        yield "refreshing", Facts()
    end = predicted_end(grant)
    if end is not None and timedelta(0) < end.at - now < WARN_BEFORE:
        yield "grant_ends", Facts(at=end.at, error=end.because)
    if not can_refresh(grant):
        yield "no_refresh_scheduled", Facts(at=grant.tokens.expires_at)
    elif grant.tokens.expires_at is not None and isinstance(step, WaitUntil | RefreshNow):
        yield "refresh_scheduled", Facts(at=next_at)
    else:
        yield "refresh_on_demand", Facts()


def _failure_names(
    run: FailureRun, next_at: datetime, *, is_needed: bool
) -> Iterator[tuple[str, Facts]]:
    """What keeps the refresh waiting; `is_needed` once there is no other token."""
    failure = run.failure
    facts = Facts(at=next_at, n=run.count, error=failure.detail, until=failure.retry_at)
    if failure.kind is FailureKind.UNKNOWN:
        yield "refresh_outcome_unknown", facts
    if failure.suspect is Suspect.PORTAL:
        yield "refresh_sign_in_page", facts
    if failure.kind is FailureKind.NOT_SENT and is_needed:
        yield "refresh_network_error", facts
    if failure.status in GONE:
        yield "refresh_endpoint_gone", facts
    if failure.status in ASKS_TO_WAIT and failure.retry_at is not None:
        yield "refresh_rate_limited", facts
    yield "refresh_retrying", facts


def _connection_name(connection: Connection) -> tuple[str, Facts]:
    if connection.state is ConnectionState.CONNECTED:
        return "connected", Facts()
    if connection.trouble is not None:
        facts = Facts(at=connection.retry_at, error=connection.error or "no reason known")
        return _TROUBLE_CAUSE[connection.trouble], facts
    return "connecting", Facts()


def _status(snapshot: Snapshot, cause: Cause) -> str:
    if not snapshot.enabled:
        return "disabled"
    if snapshot.quarantined:
        return "quarantined"
    if cause.name in _ENDING_CAUSE.values() or cause.name in ("login_required", "logged_out"):
        return ConnectionState.ERROR.value
    return snapshot.connection.state.value


def _admin_state(snapshot: Snapshot) -> str:
    if not snapshot.enabled:
        return "disabled"
    return "quarantined" if snapshot.quarantined else "enabled"


def _words(facts: Facts, tools: int, now: datetime, zone: tzinfo | None) -> dict[str, object]:
    at = facts.at
    return {
        "at": rfc3339(at) if at else "an unknown time",
        "in": countdown(at - now) if at else "a while",
        "clock": time_of_day(at, now, zone) if at else "an unknown time",
        "until": time_of_day(facts.until, now, zone) if facts.until else "an unknown time",
        "n": facts.n,
        "error": facts.error,
        "tools": "1 tool" if tools == 1 else f"{tools} tools",
        "held": "1 tool waits" if facts.n == 1 else f"{facts.n} tools wait",
    }


def rfc3339(at: datetime) -> str:
    """Whole seconds, UTC, with a Z."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def countdown(left: timedelta) -> str:
    """What remains, in the largest two units: 40s, 4m 10s, 2h 5m, 3d 4h. Never negative."""
    seconds = max(0, round(left.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m {seconds}s" if seconds else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes}m" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if hours else f"{days}d"


def time_of_day(at: datetime, now: datetime, zone: tzinfo | None) -> str:
    """HH:MM today, with the date on any other day."""
    local, today = at.astimezone(zone or at.tzinfo), now.astimezone(zone or at.tzinfo)
    return local.strftime("%H:%M" if local.date() == today.date() else "%Y-%m-%d %H:%M")
