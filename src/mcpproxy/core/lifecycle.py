"""A grant's life: what is due from its facts, whether it is over, whether its token is usable.

Law: level-triggered. Nothing here remembers that something was scheduled, so nothing can be
forgotten: a lost timer, a restart or a night of sleep delays a refresh but never loses it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mcpproxy.core.model import (
    IN_REPAIR,
    Ending,
    FailureKind,
    FailureRun,
    Grant,
    GrantType,
    RefreshCause,
    RefreshFailure,
    Refusals,
    RegistrationSource,
    Verdict,
)
from mcpproxy.core.policy import (
    DEFAULT_POLICY,
    RefreshPolicy,
    calculate_backoff,
    is_alive,
    refresh_at,
)
from mcpproxy.core.providers import keep_alive

MAX_REFUSALS: Final = 3
"""The refusal, its confirmation and one quiet probe: then the provider is left in peace."""

MAX_REJECTIONS: Final = 3
"""Refusals by the upstream, spread over half a minute, after which a token that cannot be
refreshed is believed to be dead."""

CLOCK_SLACK: Final = timedelta(minutes=1)
"""Facts that lie further ahead than this were written before the clock was set back."""

REPLICA_LAG: Final = 6
"""The pauses of a confirmation that pass until every replica knows a new refresh token: in all a
minute."""

LATEST_PROBE: Final = timedelta(days=1)
"""The last question to a provider that refused is not put off for longer."""

LEAST_REFRESH_LIFE: Final = timedelta(minutes=2)
"""What is said of a refresh token's life is taken for nonsense below, and makes no storm."""

NEVER: Final = datetime.max.replace(tzinfo=UTC)

CLIENT_ERRORS: Final = frozenset({"invalid_client", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class RefreshNow:
    """A refresh is due, for this cause."""

    cause: RefreshCause


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing to do before `at`; then a refresh for this cause."""

    at: datetime
    cause: RefreshCause


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is due until something happens: the token's life is unknown."""


@dataclass(frozen=True, slots=True)
class AwaitLogin:
    """Only a person can go on from here."""


Plan = RefreshNow | WaitUntil | Rest | AwaitLogin


def plan(
    grant: Grant,
    now: datetime,
    policy: RefreshPolicy = DEFAULT_POLICY,
    *,
    woken_at: datetime | None = None,
    asked_at: datetime | None = None,
) -> Plan:
    """What is due for this grant at `now`.

    `woken_at` is when the machine last woke or its network last changed: failures from before
    are retried at once. `asked_at` is when somebody last asked for a refresh by hand: then too,
    and a token that is not yet due is refreshed. Neither breaks the minimum interval, and neither
    overrides a provider's Retry-After.
    """
    if grant.attempt is not None:
        return RefreshNow(RefreshCause.RECOVERY)
    if not can_refresh(grant):
        return Rest() if ending(grant, now) is None else AwaitLogin()
    due = _due(grant, now, policy, max(filter(None, (woken_at, asked_at)), default=None))
    if due is None:
        return AwaitLogin()
    at, cause = due
    if asked_at is not None and _is_after(asked_at, grant.last_begun_at) and not grant.failures:
        at, cause = min(at, now), RefreshCause.ASKED
    if at == NEVER:
        return Rest()
    if grant.last_begun_at is not None and grant.last_begun_at <= now:
        at = max(at, grant.last_begun_at + policy.min_interval)
    return RefreshNow(cause) if at <= now else WaitUntil(at, cause)


def can_refresh(grant: Grant) -> bool:
    """Whether new tokens can be had without a person."""
    credentials = grant.grant_type is GrantType.CLIENT_CREDENTIALS
    return credentials or grant.tokens.refresh_token is not None


def ending(grant: Grant, now: datetime) -> Ending | None:
    """Who ended this login, if anybody did: the provider's refusal, confirmed, or standing
    while the access token is dead too. None while there is hope.
    """
    refusals = grant.refusals
    if refusals is not None:
        if repairs_client(grant) or (refusals.count < 2 and is_alive(grant.tokens, now)):
            return None
        said = own_words(refusals.failure)
        if grant.grant_type is GrantType.CLIENT_CREDENTIALS:
            return Ending(Verdict.CREDENTIALS_REFUSED, refusals.begun_at, said)
        if refusals.failure.code in CLIENT_ERRORS:
            return Ending(Verdict.CLIENT_ENDED, refusals.begun_at, said)
        lost = grant.unanswered > 0
        verdict = Verdict.LOST_IN_TRANSIT if lost else Verdict.PROVIDER_ENDED
        return Ending(verdict, refusals.begun_at, said)
    if can_refresh(grant):
        return None
    missing = "the provider issued no refresh token"
    if not is_alive(grant.tokens, now):
        at = grant.tokens.expires_at or now
        return Ending(Verdict.NO_REFRESH_TOKEN, min(at, now), missing)
    if grant.rejected_at is not None and grant.rejections >= MAX_REJECTIONS:
        evidence = f"the server refuses the access token, and {missing}"
        return Ending(Verdict.NO_REFRESH_TOKEN, grant.rejected_at, evidence)
    return None


def repairs_client(grant: Grant) -> bool:
    """Whether the provider refused our client and not the login, and we may register anew once
    it has said so for the third time: a refresh token belongs to its client, so that one is not
    given up for a passing word. The login is no worse for it until the new one is refused too.
    """
    refusals, ours = grant.refusals, grant.client.source is RegistrationSource.DYNAMIC
    if refusals is None or not ours or grant.grant_type is GrantType.CLIENT_CREDENTIALS:
        return False
    untested = refusals.repaired in (0, IN_REPAIR, refusals.count)
    return untested and refusals.failure.code in CLIENT_ERRORS


def own_words(failure: RefreshFailure) -> str:
    """What the provider said: its code, or all its words where its code is one of its own."""
    code, said = failure.code, failure.detail
    return code if code and said.startswith(code) else said


def is_usable(grant: Grant, now: datetime, policy: RefreshPolicy = DEFAULT_POLICY) -> bool:
    """Whether the access token may be handed out.

    A living token that the upstream refused is offered again, less and less often, while no
    other can be had: one stray 401 must not take a good token out of use.
    """
    if not is_alive(grant.tokens, now):
        return False
    if grant.rejected is None or grant.rejected_at is None:
        return True
    stuck = not can_refresh(grant) or grant.failures or grant.refusals
    if grant.rejected_at > now + CLOCK_SLACK:
        return bool(stuck)
    return bool(stuck) and now >= offered_again_at(grant, grant.rejected_at, policy)


def offered_again_at(
    grant: Grant, rejected_at: datetime, policy: RefreshPolicy = DEFAULT_POLICY
) -> datetime:
    """When a refused access token may be tried again: 10 s, 20 s ... 5 min after its refusal."""
    return rejected_at + calculate_backoff(max(0, grant.rejections - 1), policy)


def _due(
    grant: Grant, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
) -> tuple[datetime, RefreshCause] | None:
    """When the next attempt is due, the minimum interval apart; None when none ever is."""
    retry_at = _retry_at(grant.failures, now, policy, woken_at) if grant.failures else None
    refusals = grant.refusals
    if refusals is not None:
        if refusals.count >= MAX_REFUSALS:
            if repairs_client(grant):
                at, cause = refusals.begun_at + policy.confirm_after, RefreshCause.CONFIRM
            elif grant.grant_type is GrantType.CLIENT_CREDENTIALS:
                # Whoever looks after the provider may allow these credentials again.
                at, cause = refusals.begun_at + policy.retry_after_cap, RefreshCause.RETRY
            else:
                return None
        elif refusals.count == 1:
            at, cause = _confirm_at(grant, refusals, policy), RefreshCause.CONFIRM
        else:
            at, cause = _probe_at(grant, refusals, now, policy), RefreshCause.PROBE
        if refusals.begun_at > now + CLOCK_SLACK and cause is not RefreshCause.PROBE:
            at = now
        return (max(at, retry_at) if retry_at else at), cause
    if grant.failures is not None and retry_at is not None:
        resend = grant.failures.failure.kind is FailureKind.UNKNOWN
        return retry_at, RefreshCause.RESEND if resend else RefreshCause.RETRY
    if grant.rejected is not None:
        return _challenge_at(grant, now, policy), RefreshCause.CHALLENGED
    scheduled_at = scheduled(grant, policy)
    if scheduled_at == NEVER:
        return NEVER, RefreshCause.SCHEDULED
    if grant.tokens.issued_at > now + CLOCK_SLACK:
        return now, RefreshCause.SCHEDULED
    return scheduled_at, RefreshCause.SCHEDULED if is_alive(
        grant.tokens, now
    ) else RefreshCause.EXPIRED


def _confirm_at(grant: Grant, refusals: Refusals, policy: RefreshPolicy) -> datetime:
    """When a refusal is asked about again: a new token not before every replica knows it."""
    at = refusals.begun_at + policy.confirm_after
    if not _is_of_the_login(grant, refusals):
        return at
    issued_at = min(grant.tokens.issued_at, refusals.begun_at)  # the clock may have been set back
    return max(at, issued_at + REPLICA_LAG * policy.confirm_after)


def _probe_at(grant: Grant, refusals: Refusals, now: datetime, policy: RefreshPolicy) -> datetime:
    """When to ask for the last time. Some providers refuse as long as the access token lives, so
    it waits for its death, and for as much longer as clocks may differ: a moment too early would
    cost the login. It waits for no more than a day, whatever became of the clock.
    """
    since = min(refusals.first_at, refusals.begun_at)  # the clock may have been set back
    at = now if refusals.begun_at > now + CLOCK_SLACK else since + policy.probe_after
    dies_at = grant.tokens.expires_at
    if dies_at is None or dies_at <= refusals.begun_at or not _is_of_the_login(grant, refusals):
        return at
    is_soon = dies_at <= min(since, now) + LATEST_PROBE
    return max(at, dies_at + policy.confirm_after) if is_soon else at


def _is_of_the_login(grant: Grant, refusals: Refusals) -> bool:
    """Whether it was the refresh token that was refused, and not the client that presented it."""
    credentials = grant.grant_type is GrantType.CLIENT_CREDENTIALS
    return not credentials and refusals.failure.code not in CLIENT_ERRORS


def scheduled(grant: Grant, policy: RefreshPolicy = DEFAULT_POLICY) -> datetime:
    """When this token set is to be refreshed if nothing happens: at 80 % of the access token's
    life, or at its end where the provider refuses before, and early enough that neither the
    refresh token nor the provider's patience with an idle login ends before. NEVER: when the
    upstream refuses it.
    """
    tokens = grant.tokens
    at = (tokens.expires_at if grant.learned.refuses_early else refresh_at(tokens, policy)) or NEVER
    if tokens.refresh_token is None:
        return at
    if tokens.refresh_expires_at is not None:
        life = tokens.refresh_expires_at - tokens.issued_at
        if life >= LEAST_REFRESH_LIFE:
            at = min(at, tokens.issued_at + life / 2)
    return min(at, tokens.issued_at + keep_alive(grant.issuer, policy))


def _retry_at(
    run: FailureRun, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
) -> datetime:
    if run.begun_at > now + CLOCK_SLACK:
        return now
    steps = 0 if run.window_open else run.count - 1
    at = run.begun_at + calculate_backoff(steps, policy)
    asked = run.failure.retry_at
    if asked is not None:
        return max(at, min(asked, run.begun_at + policy.retry_after_cap))
    return min(at, now) if _is_after(woken_at, run.begun_at) else at


def _challenge_at(grant: Grant, now: datetime, policy: RefreshPolicy) -> datetime:
    """At once for the first rejected token; an upstream that rejects fresh ones is braked."""
    begun_at = grant.last_begun_at
    if grant.rejections < 2 or begun_at is None or begun_at > now + CLOCK_SLACK:
        return now
    return begun_at + calculate_backoff(grant.rejections - 2, policy)


def _is_after(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and (other is None or moment > other)
