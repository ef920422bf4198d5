"""Stored facts in words that a tired person understands: why a server is as it is.

Law: nothing is guessed. Every sentence says a fact, what follows from it, or what a person can do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from mcpproxy.core.causes import Action
from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.health import Health, countdown, rfc3339
from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.lifecycle import (
    AwaitLogin,
    RefreshNow,
    Rest,
    WaitUntil,
    can_refresh,
    ending,
    plan,
    scheduled,
)
from mcpproxy.core.model import FailureKind, Grant, Phase, RefreshCause, Upstream, Verdict
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy, is_alive, refresh_at
from mcpproxy.core.prediction import predicted_end
from mcpproxy.core.providers import profile_of
from mcpproxy.web.known import end_words, learned_words, profile_words
from mcpproxy.web.ledger import BECAUSE, LedgerItem, ledger_items, story

_VERDICT: Final = {
    Verdict.PROVIDER_ENDED: "The provider ended this login: it answered the refresh with "
    "“{evidence}”.",
    Verdict.LOST_IN_TRANSIT: "The provider issued a new token once, but its answer never arrived "
    "here; since then it answers “{evidence}” to the one we have.",
    Verdict.CLIENT_ENDED: "The provider no longer knows mcpproxy as its client: it answered "
    "“{evidence}”.",
    Verdict.NO_REFRESH_TOKEN: "The access token has ended, and {evidence}.",
    Verdict.CREDENTIALS_REFUSED: "The provider refuses the configured client credentials: it "
    "answered “{evidence}”.",
}
_KIND: Final = {
    FailureKind.NOT_SENT: "it was never sent, so nothing was spent",
    FailureKind.REFUSED: "the provider refused it",
    FailureKind.TRANSIENT: "the provider answered, but neither with tokens nor with a refusal",
    FailureKind.UNKNOWN: "it was sent, but no answer arrived",
}
_DO: Final = {
    Action.LOGIN: "Log in again: mcpproxy auth login {name}",
    Action.RESTART: "Restart it: mcpproxy upstream restart {name}",
    Action.ENABLE: "Enable it: mcpproxy upstream enable {name}",
    Action.APPROVE: "Look at it, then approve it: mcpproxy upstream approve {name}",
    Action.VIEW_LOGS: "Its log may tell more: mcpproxy upstream logs {name}",
    Action.RETRY: "Nothing needs to be done; to try at once: mcpproxy upstream restart {name}",
    Action.SET_SECRET: "Set the secret that its configuration refers to.",
    Action.CONFIGURE: "Correct its configuration: mcpproxy upstream inspect {name}",
}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Whole sentences in the order they are to be read: `lines` say how it is, `story` what
    happened (the ledger in short; `ledger` has all of it), `outlook` what happens next and what
    would end the login.
    """

    name: str
    level: str
    summary: str
    detail: str
    lines: list[str]
    story: list[str]
    ledger: list[LedgerItem]
    outlook: list[str]
    action: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Told:
    """The ledger as it could be read; `trouble` is why it could not."""

    lines: Sequence[LedgerLine] = ()
    trouble: str | None = None


NOTHING_TOLD: Final = Told()


def explain(
    upstream: Upstream,
    health: Health,
    connection: Connection,
    grant: Grant | None,
    now: datetime,
    policy: RefreshPolicy = DEFAULT_POLICY,
    *,
    told: Told = NOTHING_TOLD,
) -> Explanation:
    """Why `upstream` is in the state it is in."""
    lines = [*_admin(upstream), *_connection(connection, now)]
    if grant is not None:
        lines += _grant(grant, now)
    elif upstream.url is not None:
        lines.append(_no_login(told, now))
    if told.trouble is not None:
        lines.append(f"What happened before cannot be read now: {told.trouble}.")
    action = Action(health.action)
    return Explanation(
        name=upstream.name,
        level=health.level.value,
        summary=health.summary,
        detail=health.detail,
        lines=lines,
        story=story(told.lines),
        ledger=ledger_items(told.lines),
        outlook=list(_outlook(grant, now, policy)) if grant is not None else [],
        action=health.action,
        next_step=_DO[action].format(name=upstream.name) if action else "Nothing to do.",
    )


def _admin(upstream: Upstream) -> Iterator[str]:
    if not upstream.enabled:
        yield "It is disabled; its login, if there is one, is kept alive all the same."
    if upstream.quarantined:
        yield "It is in quarantine: nothing of it is offered until it is approved."


def _connection(connection: Connection, now: datetime) -> Iterator[str]:
    since = f" since {_moment(connection.since, now)}" if connection.since else ""
    if connection.state is ConnectionState.CONNECTED:
        tools = "1 tool" if connection.tool_count == 1 else f"{connection.tool_count} tools"
        yield f"It is connected{since} and offers {tools}."
        return
    reason = f": {connection.error}" if connection.error else "."
    yield f"It is not connected{since}{reason}"
    if connection.retry_at is not None:
        due = _moment(connection.retry_at, now) if connection.retry_at > now else "now"
        yield f"The next attempt to connect is due {due}."


def _no_login(told: Told, now: datetime) -> str:
    last = told.lines[-1] if told.lines else None
    if last is None or last.outcome is not Outcome.LOGGED_OUT:
        return "No login is stored for this server."
    return f"No login is stored for this server: it was logged out {_moment(last.at, now)}."


def _grant(grant: Grant, now: datetime) -> Iterator[str]:
    yield (
        f"The login was made {_moment(grant.logged_in_at, now)} at {grant.issuer}; this is its "
        f"generation {grant.generation}, refreshed {_times(grant.refresh_count)}."
    )
    if grant.refreshed_at is not None:
        yield f"The last refresh that succeeded was {_moment(grant.refreshed_at, now)}."
    yield _token(grant, now)
    yield from _trouble(grant, now)
    verdict = ending(grant, now)
    if verdict is not None:
        words = _VERDICT[verdict.verdict].format(evidence=verdict.evidence)
        yield f"{words} That was {_moment(verdict.at, now)}."
        yield "What was stored is kept as evidence; a new login takes its place."
    yield from _provider(grant)


def _provider(grant: Grant) -> Iterator[str]:
    """What is known of the provider, where it may explain something."""
    learned = learned_words(grant.learned)
    if learned is not None:
        yield learned
    profile = profile_of(grant.issuer)
    known = profile_words(profile) if profile is not None else None
    if known is not None:
        yield known


def _outlook(grant: Grant, now: datetime, policy: RefreshPolicy) -> Iterator[str]:
    """What happens next, and what would end the login."""
    yield _next(grant, now, policy)
    if ending(grant, now) is not None:
        return
    end = predicted_end(grant)
    if end is not None and end.at > now:
        yield end_words(end, _moment(end.at, now))
    yield _would_end(grant)


def _token(grant: Grant, now: datetime) -> str:
    expires_at = grant.tokens.expires_at
    if grant.rejected is not None:
        return "The server refuses the present access token, though it has not expired."
    if expires_at is None:
        return "The provider does not say when the access token expires; it is in use."
    if is_alive(grant.tokens, now):
        return f"The access token works until {_moment(expires_at, now)}."
    return f"The access token expired {_moment(expires_at, now)}."


def _trouble(grant: Grant, now: datetime) -> Iterator[str]:
    attempt = grant.attempt
    if attempt is not None:
        sent = "and its request was sent" if attempt.phase is Phase.SENDING else "and connects"
        yield (
            f"A refresh of generation {attempt.generation} began {_moment(attempt.begun_at, now)} "
            f"(attempt {attempt.attempt_id}) {sent}."
        )
    run = grant.failures
    if run is not None:
        yield (
            f"Refreshing has failed {_times(run.count)} since {_moment(run.first_at, now)}; the "
            f"last time {_KIND[run.failure.kind]} ({run.failure.detail})."
        )
    refusals = grant.refusals
    if refusals is not None:
        said = refusals.failure.code or refusals.failure.detail
        yield (
            f"The provider refused to refresh {_times(refusals.count)}, first "
            f"{_moment(refusals.first_at, now)}; it said “{said}”."
        )
    fails = run is not None or refusals is not None
    if fails and is_alive(grant.tokens, now) and grant.rejected is None:
        yield "Calls go on working with the present token meanwhile."
    if grant.rejections > 1:
        yield (
            f"The server refused {grant.rejections} tokens in a row that its provider had just "
            "issued; the two disagree, and mcpproxy asks less and less often."
        )


def _next(grant: Grant, now: datetime, policy: RefreshPolicy) -> str:
    match plan(grant, now, policy):
        case RefreshNow(cause):
            return f"Next: a refresh now, {BECAUSE[cause]}."
        case WaitUntil(at, RefreshCause.SCHEDULED):
            return f"Next: a refresh {_moment(at, now)}, {_scheduled(grant, policy)}."
        case WaitUntil(at, cause):
            return f"Next: a refresh {_moment(at, now)}, {BECAUSE[cause]}."
        case Rest():
            return "Next: nothing is planned; a refresh follows when the server refuses the token."
        case AwaitLogin():
            return "Next: only a new login helps."


def _scheduled(grant: Grant, policy: RefreshPolicy) -> str:
    if scheduled(grant, policy) == refresh_at(grant.tokens, policy):
        return f"at {policy.refresh_fraction:.0%} of the token's life, as always".replace("%", " %")
    if scheduled(grant, policy) == grant.tokens.expires_at:
        return "when the access token has ended: before, this provider refuses"
    return "so that the provider does not take the login for abandoned"


def _would_end(grant: Grant) -> str:
    if not can_refresh(grant):
        return "It ends with its access token: the provider issued no refresh token."
    return "Only the provider's confirmed refusal or a logout ends it; no outage does."


def _times(count: int) -> str:
    return {0: "not yet", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _moment(at: datetime, now: datetime) -> str:
    """An absolute time and its distance."""
    far = countdown(abs(at - now))
    return f"{rfc3339(at)} (in {far})" if at > now else f"{rfc3339(at)} ({far} ago)"
