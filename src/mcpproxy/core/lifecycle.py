"""A grant's life: `evolve` folds what happened into facts, `plan` derives what is due from them.

Law: level-triggered. Nothing here remembers that something was scheduled, so nothing can be
forgotten: a lost timer, a restart or a night of sleep delays a refresh but never loses it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from mcpproxy.core.events import (
    AnswerArrived,
    AttemptBegan,
    AttemptOrphaned,
    GrantEvent,
    RefreshFailed,
    SendingBegan,
    TokenAccepted,
    TokenRejected,
    TokensIssued,
    VariantLearned,
)
from mcpproxy.core.model import (
    Ending,
    FailureKind,
    FailureRun,
    Grant,
    Phase,
    RefreshCause,
    RefreshFailure,
    Refusals,
    Secret,
    TokenSet,
    Verdict,
)
from mcpproxy.core.policy import (
    DEFAULT_POLICY,
    RefreshPolicy,
    calculate_backoff,
    is_alive,
    refresh_at,
)

MAX_SPARES: Final = 4
"""Answers that came too late to be current; more than a few at once cannot happen sanely."""

MAX_REFUSALS: Final = 3
"""The refusal, its confirmation and one quiet probe: then the provider is left in peace."""

MAX_WINDOWS: Final = 3
"""How often for one token a lost answer shortens the waits again."""

MAX_REJECTIONS: Final = 3
"""Refusals by the upstream, spread over half a minute, after which a token that cannot be
refreshed is believed to be dead."""

CLOCK_SLACK: Final = timedelta(minutes=1)
"""Facts that lie further ahead than this were written before the clock was set back."""

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


def evolve(grant: Grant, event: GrantEvent) -> Grant:
    """The grant's facts after `event`. An event of a superseded attempt changes nothing, except
    that tokens it brought are kept as spares.
    """
    match event:
        case AttemptBegan(attempt):
            return replace(grant, attempt=attempt, last_begun_at=attempt.begun_at)
        case SendingBegan(attempt_id):
            return _with_attempt(grant, attempt_id, phase=Phase.SENDING)
        case AnswerArrived(attempt_id, answer):
            return _with_attempt(grant, attempt_id, answer=answer)
        case TokensIssued():
            return _issued(grant, event)
        case RefreshFailed(attempt_id, failure, at):
            return _failed(grant, failure, at) if _is_current(grant, attempt_id) else grant
        case VariantLearned(attempt_id, variant, _):
            if not _is_current(grant, attempt_id):
                return grant
            return replace(grant, variant=variant, attempt=None)
        case AttemptOrphaned(attempt_id, at):
            return _orphaned(grant, at) if _is_current(grant, attempt_id) else grant
        case TokenRejected(fingerprint, at):
            return _rejected(grant, fingerprint, at)
        case TokenAccepted(fingerprint):
            if fingerprint != grant.tokens.access_token.fingerprint:
                return grant
            return replace(grant, rejected=None, rejected_at=None, rejections=0)
        case _:
            assert_never(event)


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
    are retried at once. `asked_at` is when somebody last asked for a refresh by hand. Neither
    breaks the minimum interval, and neither overrides a provider's Retry-After.
    """
    if grant.attempt is not None:
        return RefreshNow(RefreshCause.RECOVERY)
    if grant.tokens.refresh_token is None:
        return Rest() if ending(grant, now) is None else AwaitLogin()
    due = _due(grant, now, policy, woken_at)
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


def ending(grant: Grant, now: datetime) -> Ending | None:
    """Who ended this login, if anybody did: the provider's refusal, confirmed, or standing
    while the access token is dead too. None while there is hope.
    """
    refusals = grant.refusals
    if refusals is not None:
        if refusals.count < 2 and is_alive(grant.tokens, now):
            return None
        code = refusals.failure.code or refusals.failure.detail
        if code in CLIENT_ERRORS:
            return Ending(Verdict.CLIENT_ENDED, refusals.begun_at, code)
        lost = grant.unanswered > 0
        verdict = Verdict.LOST_IN_TRANSIT if lost else Verdict.PROVIDER_ENDED
        return Ending(verdict, refusals.begun_at, code)
    if grant.tokens.refresh_token is not None:
        return None
    missing = "the provider issued no refresh token"
    if not is_alive(grant.tokens, now):
        at = grant.tokens.expires_at or now
        return Ending(Verdict.NO_REFRESH_TOKEN, min(at, now), missing)
    if grant.rejected_at is not None and grant.rejections >= MAX_REJECTIONS:
        evidence = f"the server refuses the access token, and {missing}"
        return Ending(Verdict.NO_REFRESH_TOKEN, grant.rejected_at, evidence)
    return None


def is_usable(grant: Grant, now: datetime, policy: RefreshPolicy = DEFAULT_POLICY) -> bool:
    """Whether the access token may be handed out.

    A living token that the upstream refused is offered again, less and less often, while no
    other can be had: one stray 401 must not take a good token out of use.
    """
    if not is_alive(grant.tokens, now):
        return False
    if grant.rejected is None or grant.rejected_at is None:
        return True
    stuck = grant.tokens.refresh_token is None or grant.failures or grant.refusals
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
            return None
        if refusals.count == 1:
            at, cause = refusals.begun_at + policy.confirm_after, RefreshCause.CONFIRM
        else:
            at, cause = refusals.first_at + policy.probe_after, RefreshCause.PROBE
        if refusals.begun_at > now + CLOCK_SLACK:
            at = now
        return (max(at, retry_at) if retry_at else at), cause
    if grant.failures is not None and retry_at is not None:
        resend = grant.failures.failure.kind is FailureKind.UNKNOWN
        return retry_at, RefreshCause.RESEND if resend else RefreshCause.RETRY
    if grant.rejected is not None:
        return _challenge_at(grant, now, policy), RefreshCause.CHALLENGED
    scheduled_at = refresh_at(grant.tokens, policy)
    if scheduled_at is None:
        return NEVER, RefreshCause.SCHEDULED
    if grant.tokens.issued_at > now + CLOCK_SLACK:
        return now, RefreshCause.SCHEDULED
    return scheduled_at, RefreshCause.SCHEDULED if is_alive(
        grant.tokens, now
    ) else RefreshCause.EXPIRED


def _retry_at(
    run: FailureRun, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
) -> datetime:
    if run.begun_at > now + CLOCK_SLACK:
        return now
    at = run.begun_at + calculate_backoff(run.count - 1, policy)
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


def _issued(grant: Grant, event: TokensIssued) -> Grant:
    attempt = None if _is_current(grant, event.attempt_id) else grant.attempt
    if event.generation != grant.generation:
        known = (grant.tokens, *grant.spares)
        if any(tokens.access_token == event.tokens.access_token for tokens in known):
            return replace(grant, attempt=attempt)
        spares = (event.tokens, *grant.spares)[:MAX_SPARES]
        return replace(grant, spares=spares, attempt=attempt)
    return replace(
        _with_tokens(grant, event.tokens),
        refreshed_at=event.at,
        refresh_count=grant.refresh_count + 1,
        attempt=attempt,
    )


def _with_tokens(grant: Grant, tokens: TokenSet) -> Grant:
    """The next generation. What the answer leaves out stays as it was (RFC 6749 section 6)."""
    kept = replace(
        tokens,
        refresh_token=tokens.refresh_token or grant.tokens.refresh_token,
        scope=tokens.scope or grant.tokens.scope,
    )
    return replace(
        grant,
        tokens=kept,
        generation=grant.generation + 1,
        failures=None,
        refusals=None,
        unanswered=0,
        rejected=None,
        rejected_at=None,
    )


def _failed(grant: Grant, failure: RefreshFailure, at: datetime) -> Grant:
    if grant.attempt is not None and grant.attempt.generation != grant.generation:
        # A sibling's late answer moved the generation on: this says nothing of the new token.
        return replace(grant, attempt=None)
    begun_at = grant.attempt.begun_at if grant.attempt else at
    if failure.kind is FailureKind.REFUSED:
        if grant.spares:
            promoted = replace(grant, spares=grant.spares[1:], attempt=None)
            return _with_tokens(promoted, grant.spares[0])
        past = grant.refusals
        refusals = Refusals(
            count=past.count + 1 if past else 1,
            first_at=past.first_at if past else begun_at,
            begun_at=begun_at,
            failure=failure,
        )
        return replace(grant, refusals=refusals, failures=None, attempt=None)
    unknown = failure.kind is FailureKind.UNKNOWN
    run = None if unknown and _opens_a_window(grant) else grant.failures
    failures = FailureRun(
        count=run.count + 1 if run else 1,
        first_at=run.first_at if run else begun_at,
        begun_at=begun_at,
        failure=failure,
    )
    return replace(
        grant, failures=failures, attempt=None, unanswered=grant.unanswered + int(unknown)
    )


def _opens_a_window(grant: Grant) -> bool:
    """Whether an answer lost now begins the ladder anew: the provider's replay window may be open
    from this moment, whatever an outage before had stretched the waits to. Not for ever: a
    provider that keeps breaking off is not to be asked every few seconds.
    """
    past = grant.failures
    is_first = past is None or past.failure.kind is not FailureKind.UNKNOWN
    return is_first and grant.unanswered < MAX_WINDOWS


def _rejected(grant: Grant, fingerprint: str, at: datetime) -> Grant:
    """A burst of calls that are refused together is one rejection."""
    if fingerprint != grant.tokens.access_token.fingerprint:
        return grant
    last = grant.rejected_at if grant.rejected is not None else None
    if last is not None and last <= at < offered_again_at(grant, last):
        return grant
    return replace(grant, rejected=fingerprint, rejected_at=at, rejections=grant.rejections + 1)


def _orphaned(grant: Grant, at: datetime) -> Grant:
    attempt = grant.attempt
    if attempt is None or attempt.phase is Phase.CONNECTING:
        detail = "the process stopped before the request was sent"
        return _failed(grant, RefreshFailure(FailureKind.NOT_SENT, detail), at)
    detail = "the process stopped while the answer was under way"
    return _failed(grant, RefreshFailure(FailureKind.UNKNOWN, detail), at)


def _with_attempt(
    grant: Grant, attempt_id: str, *, phase: Phase | None = None, answer: Secret | None = None
) -> Grant:
    attempt = grant.attempt
    if attempt is None or attempt.attempt_id != attempt_id:
        return grant
    changed = replace(
        attempt, phase=phase or attempt.phase, answer=answer if answer else attempt.answer
    )
    return replace(grant, attempt=changed)


def _is_current(grant: Grant, attempt_id: str) -> bool:
    return grant.attempt is not None and grant.attempt.attempt_id == attempt_id


def _is_after(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and (other is None or moment > other)
