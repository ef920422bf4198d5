"""Folds what happened to a grant into its facts.

Law: pure, and nothing is ever thrown away that may still be the live token. An event of a
superseded attempt changes nothing, except that tokens it brought are kept as spares.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from mcpproxy.core.events import (
    AnswerArrived,
    AttemptBegan,
    AttemptOrphaned,
    ClientConfigured,
    ClientRenewed,
    EndpointMoved,
    EndTold,
    GrantEvent,
    RefreshFailed,
    RepairBegan,
    RepairFailed,
    SendingBegan,
    TokenAccepted,
    TokenRejected,
    TokensIssued,
    VariantLearned,
)
from mcpproxy.core.lifecycle import CLIENT_ERRORS, offered_again_at
from mcpproxy.core.model import (
    IN_REPAIR,
    NO_HELP,
    ClientRegistration,
    FailureKind,
    FailureRun,
    Grant,
    Learned,
    Phase,
    RefreshFailure,
    Refusals,
    Secret,
    TokenSet,
)

MAX_SPARES: Final = 4
"""Answers that came too late to be current; more than a few at once cannot happen sanely."""

REPLAY_WINDOW: Final = timedelta(seconds=30)
"""Most providers that repeat a lost answer do so for this long at least. An attempt that comes
later after the one before is a new chance to be processed, and to be repeated once."""

MAX_WINDOWS: Final = 3
"""How often for one token a lost answer shortens the waits again."""

STEADY: Final = 3
"""After so many equal lives in a row a shorter one means something."""

SAME: Final = 0.02
"""Lives that differ by no more than this part of the usual one are equal."""

SAME_AT_LEAST: Final = timedelta(seconds=5)

BRIEF: Final = timedelta(minutes=1)
"""An access token that lives no longer is dead before a refusal is confirmed."""


def evolve(grant: Grant, event: GrantEvent) -> Grant:
    """The grant's facts after `event`."""
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
        case RepairBegan(at):
            return _with_repair(replace(grant, repair_tried_at=at), IN_REPAIR)
        case RepairFailed():
            return _with_repair(grant, NO_HELP)
        case ClientRenewed(client, instead_of):
            return _renewed(grant, client) if grant.client == instead_of else grant
        case ClientConfigured(client):
            past = grant.refusals
            blamed = past is not None and past.failure.code in CLIENT_ERRORS
            return replace(grant, client=client, refusals=None if blamed else past)
        case EndpointMoved(instead_of) if grant.token_endpoint != instead_of:
            return grant
        case EndpointMoved(_, token_endpoint, revocation_endpoint):
            return replace(
                grant,
                token_endpoint=token_endpoint,
                revocation_endpoint=revocation_endpoint or grant.revocation_endpoint,
                failures=None,
            )
        case EndTold():
            return replace(grant, told_generation=grant.generation)
        case _:
            assert_never(event)


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
    is_new = tokens.refresh_token is not None
    kept = replace(
        tokens,
        refresh_token=tokens.refresh_token or grant.tokens.refresh_token,
        scope=tokens.scope or grant.tokens.scope,
        refresh_expires_at=tokens.refresh_expires_at
        or (None if is_new else grant.tokens.refresh_expires_at),
    )
    return replace(
        grant,
        tokens=kept,
        learned=_learn_of_refusals(learn(grant.learned, grant.tokens, tokens), grant, tokens),
        generation=grant.generation + 1,
        failures=None,
        refusals=None,
        unanswered=0,
        rejected=None,
        rejected_at=None,
    )


def learn(known: Learned, old: TokenSet, new: TokenSet) -> Learned:
    """What one more answer shows. Providers whose logins have a hard end cut the last access
    tokens short: a life that shrinks after a row of equal ones, or two that end at the same
    moment, tell that end. One that outlives it proves the guess wrong.
    """
    rotates = known.rotates
    if new.refresh_token is not None and new.refresh_token != old.refresh_token:
        rotates = True
    elif rotates is None:
        rotates = False
    if new.expires_at is None:
        return replace(known, rotates=rotates)
    life, usual = new.expires_at - new.issued_at, known.usual_life
    if usual is None:
        return replace(known, rotates=rotates, usual_life=life, steady=1)
    slack = max(SAME_AT_LEAST, usual * SAME)
    if abs(life - usual) <= slack:
        steady = min(known.steady + 1, STEADY)
        return replace(known, rotates=rotates, steady=steady, ends_at=None)
    same_end = old.expires_at is not None and abs(new.expires_at - old.expires_at) <= slack
    disproved = known.ends_at is not None and new.expires_at > known.ends_at + slack
    if life < usual and (same_end or known.steady >= STEADY) and not disproved:
        return replace(known, rotates=rotates, ends_at=new.expires_at)
    return replace(known, rotates=rotates, usual_life=life, steady=1, ends_at=None)


def _learn_of_refusals(known: Learned, grant: Grant, new: TokenSet) -> Learned:
    """What tokens that come after refusals show: who refused twice while the access token lived,
    or once where that was too short to ask twice, and grants it after, refuses early. It is never
    unlearned: nothing is asked early any more that could disprove it.
    """
    past, old = grant.refusals, grant.tokens
    if past is None or past.failure.code in CLIENT_ERRORS:
        return known
    if old.expires_at is None or (past.count < 2 and old.expires_at - old.issued_at > BRIEF):
        return known
    lived = old.issued_at <= past.first_at <= past.begun_at < old.expires_at
    is_dead = new.issued_at >= old.expires_at
    return replace(known, refuses_early=True) if lived and is_dead else known


def _failed(grant: Grant, failure: RefreshFailure, at: datetime) -> Grant:
    if grant.attempt is not None and grant.attempt.generation != grant.generation:
        # A sibling's late answer moved the generation on: this says nothing of the new token.
        return replace(grant, attempt=None)
    begun_at = grant.attempt.begun_at if grant.attempt else at
    if failure.kind is FailureKind.REFUSED:
        if grant.spares:
            promoted = replace(grant, spares=grant.spares[1:], attempt=None)
            # Nothing was issued: an answer that was lost before is lost still.
            return replace(_with_tokens(promoted, grant.spares[0]), unanswered=grant.unanswered)
        past = grant.refusals
        refusals = Refusals(
            count=past.count + 1 if past else 1,
            first_at=past.first_at if past else begun_at,
            begun_at=begun_at,
            failure=failure,
            repaired=past.repaired if past else 0,
        )
        return replace(grant, refusals=refusals, failures=None, attempt=None)
    unknown, past_run = failure.kind is FailureKind.UNKNOWN, grant.failures
    run = None if unknown and _opens_a_window(grant) else past_run
    after_a_pause = past_run is None or begun_at - past_run.begun_at > REPLAY_WINDOW
    failures = FailureRun(
        count=run.count + 1 if run else 1,
        first_at=run.first_at if run else begun_at,
        begun_at=begun_at,
        failure=failure,
        window_open=unknown and after_a_pause,
    )
    return replace(
        grant, failures=failures, attempt=None, unanswered=grant.unanswered + int(unknown)
    )


def _with_repair(grant: Grant, repaired: int) -> Grant:
    """Noted beside the trouble itself: a clock that is set must not make it happen again."""
    refusals = grant.refusals
    if refusals is None or refusals.failure.code not in CLIENT_ERRORS:
        return grant  # the endpoint is looked after, not the client
    return replace(grant, refusals=replace(refusals, repaired=repaired))


def _renewed(grant: Grant, client: ClientRegistration) -> Grant:
    """Whatever was refused meanwhile was another client's: this one is tried once, however late
    it came.
    """
    refusals = grant.refusals
    untested = refusals and replace(refusals, repaired=refusals.count)
    return replace(grant, client=client, refusals=untested)


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
