"""The ledger: one line for everything that could end a login, written with what came of it.

Law: a line is derived from the facts before and after an event and stored in the same step as
they are, so the two can never disagree. Fingerprints stand in it, never a token.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mcpproxy.core.events import (
    AttemptOrphaned,
    ClientConfigured,
    ClientRenewed,
    EndpointMoved,
    EndTold,
    GrantEvent,
    RefreshFailed,
    TokensIssued,
    VariantLearned,
)
from mcpproxy.core.model import Attempt, FailureKind, Grant, RefreshFailure

MAX_LEDGER: Final = 200
"""Lines kept of one server: over a week of hourly refreshes; the oldest go first."""


class Outcome(StrEnum):
    """What became of an attempt, or what happened to the login."""

    ISSUED = "issued"
    KEPT_AS_SPARE = "kept_as_spare"
    REFUSED = "refused"
    TRANSIENT = "transient"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"
    OTHER_FORM = "other_form"
    TAKEN_OVER = "taken_over"
    LOGGED_IN = "logged_in"
    LOGGED_OUT = "logged_out"
    CLIENT_RENEWED = "client_renewed"
    CLIENT_CONFIGURED = "client_configured"
    ENDPOINT_MOVED = "endpoint_moved"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One attempt, or one change of the login.

    `generation` and `fingerprint` are of the refresh token that was presented, `new_fingerprint`
    of the one that came back; `duration` is by the wall clock, never negative. `cause`, `holder`
    and `attempt_id` are empty for what was no attempt. `code` is the provider's, and the verdict
    of an end.
    """

    server: str
    login_id: str
    at: datetime
    outcome: Outcome
    generation: int
    duration: timedelta = timedelta(0)
    attempt_id: str = ""
    cause: str = ""
    holder: str = ""
    fingerprint: str = ""
    new_fingerprint: str = ""
    code: str | None = None
    status: int | None = None
    detail: str = ""


def line_of(before: Grant, event: GrantEvent, after: Grant, now: datetime) -> LedgerLine | None:
    """The line that `event` leaves; None for what only goes on inside an attempt."""
    match event:
        case TokensIssued(attempt_id):
            moved = after.generation > before.generation
            spare = len(after.spares) > len(before.spares)
            if not moved and not spare:
                return None
            outcome = Outcome.ISSUED if moved else Outcome.KEPT_AS_SPARE
            token = event.tokens.refresh_token or before.tokens.refresh_token
            line = _attempt_line(
                before, attempt_id, outcome, now, new=token.fingerprint if token else ""
            )
            return replace(line, generation=event.generation)
        case RefreshFailed() | VariantLearned() | AttemptOrphaned() if not _is_open(before, event):
            return None  # it was taken over, and has its line
        case RefreshFailed(attempt_id, failure):
            outcome = Outcome(failure.kind.value)
            return _attempt_line(before, attempt_id, outcome, now, failure=failure)
        case VariantLearned(attempt_id, variant):
            form = variant.value.replace("_", " ")
            failure = RefreshFailure(FailureKind.TRANSIENT, f"the provider wants it {form}")
            return _attempt_line(before, attempt_id, Outcome.OTHER_FORM, now, failure=failure)
        case AttemptOrphaned(attempt_id):
            run = after.failures
            failure = run.failure if run else RefreshFailure(FailureKind.UNKNOWN, "")
            return _attempt_line(before, attempt_id, Outcome.TAKEN_OVER, now, failure=failure)
        case ClientRenewed():
            return _change(after, Outcome.CLIENT_RENEWED, now, after.client.client_id)
        case ClientConfigured():
            return _change(after, Outcome.CLIENT_CONFIGURED, now, after.client.client_id)
        case EndpointMoved():
            return _change(after, Outcome.ENDPOINT_MOVED, now, after.token_endpoint)
        case EndTold(ending) if before.told_generation != before.generation:
            line = _change(before, Outcome.ENDED, now, ending.evidence)
            return replace(line, code=ending.verdict.value)
        case _:
            return None


def _is_open(grant: Grant, event: RefreshFailed | VariantLearned | AttemptOrphaned) -> bool:
    return grant.attempt is not None and grant.attempt.attempt_id == event.attempt_id


def login_line(grant: Grant) -> LedgerLine:
    """The line of a login that was made."""
    return _change(grant, Outcome.LOGGED_IN, grant.logged_in_at, grant.issuer)


def logout_line(grant: Grant, now: datetime, complaint: str | None) -> LedgerLine:
    """The line of a logout; `complaint` is what the provider said against revoking."""
    return _change(grant, Outcome.LOGGED_OUT, now, complaint or "")


def _change(grant: Grant, outcome: Outcome, now: datetime, detail: str) -> LedgerLine:
    token = grant.tokens.refresh_token
    return LedgerLine(
        grant.server,
        grant.login_id,
        now,
        outcome,
        grant.generation,
        fingerprint=token.fingerprint if token else "",
        detail=detail,
    )


def _attempt_line(
    before: Grant,
    attempt_id: str,
    outcome: Outcome,
    now: datetime,
    *,
    failure: RefreshFailure | None = None,
    new: str = "",
) -> LedgerLine:
    """A superseded attempt is not in the facts any more; its late answer leaves a line still."""
    attempt = before.attempt
    known: Attempt | None = attempt if attempt and attempt.attempt_id == attempt_id else None
    return LedgerLine(
        server=before.server,
        login_id=before.login_id,
        at=known.begun_at if known else now,
        outcome=outcome,
        generation=known.generation if known else before.generation,
        duration=max(timedelta(0), now - known.begun_at) if known else timedelta(0),
        attempt_id=attempt_id,
        cause=known.cause.value if known else "",
        holder=known.holder if known else "",
        fingerprint=known.fingerprint if known else "",
        new_fingerprint=new,
        code=failure.code if failure else None,
        status=failure.status if failure else None,
        detail=failure.detail if failure else "",
    )
