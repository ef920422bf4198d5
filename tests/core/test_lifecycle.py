"""What happened to a grant, and what is due from it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from mcpproxy.core.evolution import evolve
from mcpproxy.core.lifecycle import (
    Plan,
    RefreshNow,
    Rest,
    WaitUntil,
    ending,
    plan,
)
from mcpproxy.core.model import FailureKind, GrantType, Phase, RefreshCause, Secret, Variant
from mcpproxy.core.policy import DEFAULT_POLICY
from tests.builders import NOW, a_failure, a_grant, a_token_set, an_attempt
from tests.core.attempts import HOUR, SECOND, fail


def due_in(step: Plan) -> float:
    assert isinstance(step, WaitUntil), step
    return (step.at - NOW).total_seconds()


# --- when it is due ---------------------------------------------------------------------------


def test_a_fresh_grant_waits_for_four_fifths_of_its_life() -> None:
    step = plan(a_grant(), NOW)
    assert step == WaitUntil(NOW + timedelta(minutes=48), RefreshCause.SCHEDULED)


def test_a_refresh_that_was_slept_through_is_due_at_once() -> None:
    assert plan(a_grant(), NOW + 8 * HOUR) == RefreshNow(RefreshCause.EXPIRED)


def test_a_token_of_unknown_life_rests_until_somebody_refuses_it() -> None:
    grant = a_grant(tokens=a_token_set(life=None))
    assert due_in(plan(grant, NOW + HOUR)) == DEFAULT_POLICY.keep_alive.total_seconds()
    rejected = evolve(grant, TokenRejected(grant.tokens.access_token.fingerprint, NOW))
    assert plan(rejected, NOW + HOUR) == RefreshNow(RefreshCause.CHALLENGED)


def test_a_token_of_unknown_life_that_cannot_be_refreshed_is_left_alone() -> None:
    grant = a_grant(tokens=replace(a_token_set(life=None), refresh_token=None))
    assert plan(grant, NOW + 1000 * HOUR) == Rest()


def test_no_login_goes_without_a_refresh_for_longer_than_a_week() -> None:
    year = a_grant(tokens=a_token_set(life=8766 * HOUR))
    assert due_in(plan(year, NOW + HOUR)) == timedelta(days=7).total_seconds()


def test_a_provider_that_ends_idle_logins_sooner_is_asked_sooner() -> None:
    okta = a_grant(tokens=a_token_set(life=8766 * HOUR), issuer="https://acme.okta.com/oauth2")
    assert due_in(plan(okta, NOW + HOUR)) == pytest.approx(timedelta(days=7 / 3).total_seconds())


def test_a_refresh_token_that_ends_before_its_access_token_is_used_in_time() -> None:
    tokens = replace(a_token_set(life=24 * HOUR), refresh_expires_at=NOW + HOUR)
    assert due_in(plan(a_grant(tokens=tokens), NOW)) == 1800


def test_a_five_second_token_is_not_refreshed_more_often_than_every_ten_seconds() -> None:
    grant = a_grant(tokens=a_token_set(life=5 * SECOND), last_begun_at=NOW)
    assert due_in(plan(grant, NOW + 4 * SECOND)) == 10


def test_an_open_attempt_is_due_for_whoever_gets_the_lease() -> None:
    grant = evolve(a_grant(), AttemptBegan(an_attempt()))
    assert plan(grant, NOW) == RefreshNow(RefreshCause.RECOVERY)


def test_retries_wait_as_the_sequence_says_counted_from_their_begin() -> None:
    grant, at, waits = a_grant(), 0.0, []
    for _ in range(7):
        grant = fail(grant, at, FailureKind.TRANSIENT)
        next_at = due_in(plan(grant, NOW + (at + 1) * SECOND))
        waits.append(next_at - at)
        at = next_at
    assert waits == [10, 20, 40, 80, 160, 300, 300]


def test_retries_go_on_for_ever_and_never_end_the_grant() -> None:
    grant = a_grant()
    for n in range(2000):
        grant = fail(grant, n * 300, FailureKind.TRANSIENT)
    later = NOW + 2000 * 300 * SECOND
    assert ending(grant, later) is None
    assert plan(grant, later) == RefreshNow(RefreshCause.RETRY)


def test_retry_after_is_honoured_up_to_its_cap_even_by_a_wake() -> None:
    asked = NOW + 120 * SECOND
    grant = fail(a_grant(), 0, FailureKind.TRANSIENT, retry_at=asked)
    woken = NOW + 5 * SECOND
    assert due_in(plan(grant, NOW + 6 * SECOND, woken_at=woken)) == 120
    absurd = fail(a_grant(), 0, FailureKind.TRANSIENT, retry_at=NOW + 9000 * HOUR)
    assert due_in(plan(absurd, NOW + 6 * SECOND)) == 3600


def test_a_wake_retries_at_once_but_never_within_ten_seconds_of_the_last_attempt() -> None:
    grant = a_grant()
    for n, at in enumerate((0, 10, 30, 70, 150, 310)):
        grant = fail(grant, at, FailureKind.NOT_SENT)
        assert grant.failures is not None
        assert grant.failures.count == n + 1
    woken = NOW + 330 * SECOND
    assert plan(grant, woken, woken_at=woken) == RefreshNow(RefreshCause.RETRY)
    assert due_in(plan(grant, NOW + 312 * SECOND, woken_at=NOW + 311 * SECOND)) == 320


def test_an_unanswered_refresh_is_sent_again_inside_the_replay_window() -> None:
    grant = fail(a_grant(), 0, FailureKind.UNKNOWN)
    step = plan(grant, NOW + 2 * SECOND)
    assert step == WaitUntil(NOW + 10 * SECOND, RefreshCause.RESEND)


def test_a_lost_answer_after_a_long_outage_is_still_sent_again_inside_the_window() -> None:
    grant = a_grant()
    for n in range(8):
        grant = fail(grant, n * 300, FailureKind.NOT_SENT)
    grant = fail(grant, 2400, FailureKind.UNKNOWN)
    assert due_in(plan(grant, NOW + 2401 * SECOND)) == 2410
    grant = fail(grant, 2410, FailureKind.UNKNOWN)
    assert due_in(plan(grant, NOW + 2411 * SECOND)) == 2430


def test_each_answer_lost_after_a_long_pause_is_asked_for_once_more_inside_the_window() -> None:
    """An outage that shows as silence, and then one answer that was really there."""
    grant, begun, waits = a_grant(), 0.0, []
    for _ in range(12):
        grant = fail(grant, begun, FailureKind.UNKNOWN)
        waits.append(due_in(plan(grant, NOW + (begun + 1) * SECOND)) - begun)
        begun += waits[-1]
    assert waits == [10, 20, 40, 10, 160, 10, 300, 10, 300, 10, 300, 10]


def test_a_lost_answer_after_another_failure_opens_its_window_every_time() -> None:
    grant, waits = a_grant(), []
    for begun in range(0, 8000, 2000):
        for n in range(5):
            grant = fail(grant, begun + n * 300, FailureKind.NOT_SENT)
        lost_at = begun + 1500
        grant = fail(grant, lost_at, FailureKind.UNKNOWN)
        waits.append(due_in(plan(grant, NOW + (lost_at + 1) * SECOND)) - lost_at)
    assert waits == [10, 10, 10, 10]


def test_somebody_asking_is_served_now_but_within_the_minimum_interval() -> None:
    grant = a_grant(last_begun_at=NOW)
    asked = NOW + 3 * SECOND
    assert due_in(plan(grant, asked, asked_at=asked)) == 10
    assert plan(grant, NOW + 11 * SECOND, asked_at=asked) == RefreshNow(RefreshCause.ASKED)
    done = replace(grant, last_begun_at=NOW + 11 * SECOND)
    assert due_in(plan(done, NOW + 30 * SECOND, asked_at=asked)) == 48 * 60


# --- clocks that jump -------------------------------------------------------------------------


def test_a_clock_set_back_a_year_delays_nothing_by_a_year() -> None:
    back = NOW - timedelta(days=365)
    assert plan(a_grant(last_begun_at=NOW), back) == RefreshNow(RefreshCause.SCHEDULED)
    failing = fail(a_grant(), 0, FailureKind.TRANSIENT)
    assert plan(failing, back) == RefreshNow(RefreshCause.RETRY)
    refused = fail(a_grant(), 0, FailureKind.REFUSED, code="invalid_grant")
    assert plan(refused, back) == RefreshNow(RefreshCause.CONFIRM)


def test_a_clock_set_a_year_ahead_costs_one_refresh_and_no_login() -> None:
    ahead = NOW + timedelta(days=365)
    grant = a_grant()
    assert plan(grant, ahead) == RefreshNow(RefreshCause.EXPIRED)
    assert ending(grant, ahead) is None


# --- what an outcome does ---------------------------------------------------------------------


def test_issued_tokens_make_the_next_generation_and_clear_every_trouble() -> None:
    grant = fail(a_grant(), 0, FailureKind.UNKNOWN)
    attempt = an_attempt(9, begun_at=NOW + 10 * SECOND)
    grant = evolve(grant, AttemptBegan(attempt))
    issued = a_token_set(number=2, issued_at=NOW + 11 * SECOND)
    grant = evolve(grant, TokensIssued(attempt.attempt_id, 1, issued, NOW + 11 * SECOND))
    assert (grant.generation, grant.tokens, grant.attempt) == (2, issued, None)
    assert (grant.failures, grant.refusals, grant.unanswered) == (None, None, 0)
    assert (grant.refresh_count, grant.refreshed_at) == (1, NOW + 11 * SECOND)


def test_a_missing_refresh_token_or_scope_in_the_answer_keeps_the_old() -> None:
    old = replace(a_token_set(), scope="read write")
    attempt = an_attempt()
    grant = evolve(a_grant(tokens=old), AttemptBegan(attempt))
    bare = a_token_set(number=2, refresh_token=None)
    grant = evolve(grant, TokensIssued(attempt.attempt_id, 1, bare, NOW))
    assert grant.tokens.refresh_token == Secret("refresh-1")
    assert grant.tokens.scope == "read write"
    assert grant.tokens.access_token == Secret("access-2")


def test_tokens_that_come_too_late_are_kept_as_spares_and_used_when_the_current_are_refused() -> (
    None
):
    grant = evolve(a_grant(generation=5), TokensIssued("old", 4, a_token_set(number=9), NOW))
    assert grant.generation == 5
    assert grant.tokens.access_token == Secret("access-1")
    refused = fail(grant, 0, FailureKind.REFUSED, code="invalid_grant")
    assert refused.tokens.refresh_token == Secret("refresh-9")
    assert (refused.generation, refused.refusals, refused.spares) == (6, None, ())
    lost_before = fail(replace(grant, unanswered=1), 0, FailureKind.REFUSED, code="invalid_grant")
    assert lost_before.unanswered == 1


def test_events_of_a_superseded_attempt_change_nothing() -> None:
    grant = evolve(a_grant(), AttemptBegan(an_attempt(2)))
    stale: tuple[GrantEvent, ...] = (
        SendingBegan("attempt-1"),
        AnswerArrived("attempt-1", Secret("{}")),
        RefreshFailed("attempt-1", a_failure(FailureKind.REFUSED), NOW),
        VariantLearned("attempt-1", Variant.NO_RESOURCE, NOW),
        AttemptOrphaned("attempt-1", NOW),
    )
    for event in stale:
        assert evolve(grant, event) == grant


def test_a_refusal_of_an_older_generation_says_nothing_of_the_newer() -> None:
    begun = evolve(a_grant(), AttemptBegan(an_attempt(1, generation=1)))
    moved = evolve(begun, TokensIssued("sibling", 1, a_token_set(number=2), NOW))
    refused = evolve(moved, RefreshFailed("attempt-1", a_failure(FailureKind.REFUSED), NOW))
    assert (refused.generation, refused.refusals, refused.attempt) == (2, None, None)


@pytest.mark.parametrize(
    ("phase", "kind"),
    [(Phase.CONNECTING, FailureKind.NOT_SENT), (Phase.SENDING, FailureKind.UNKNOWN)],
)
def test_an_orphaned_attempt_spent_the_token_only_if_it_had_begun_to_send(
    phase: Phase, kind: FailureKind
) -> None:
    grant = evolve(a_grant(), AttemptBegan(replace(an_attempt(), phase=phase)))
    grant = evolve(grant, AttemptOrphaned("attempt-1", NOW + SECOND))
    assert grant.failures is not None
    assert grant.failures.failure.kind is kind
    assert due_in(plan(grant, NOW + SECOND)) == 10


def test_a_learned_variant_is_remembered_and_tried_after_the_minimum_interval() -> None:
    begun = evolve(a_grant(), AttemptBegan(an_attempt()))
    grant = evolve(begun, VariantLearned("attempt-1", Variant.NO_RESOURCE, NOW))
    assert (grant.variant, grant.attempt) == (Variant.NO_RESOURCE, None)
    expired = replace(grant, tokens=a_token_set(issued_at=NOW - 2 * HOUR))
    assert due_in(plan(expired, NOW + SECOND)) == 10


# --- whatever happens -------------------------------------------------------------------------

_failures = st.sampled_from([FailureKind.NOT_SENT, FailureKind.TRANSIENT, FailureKind.UNKNOWN]).map(
    lambda kind: ("fail", kind)
)
_events = st.lists(
    st.one_of(
        _failures,
        st.sampled_from([("issue", None), ("reject", None), ("accept", None), ("orphan", None)]),
    ),
    max_size=40,
)


@given(_events, st.integers(0, 10**7))
def test_without_a_refusal_nothing_ever_ends_a_grant_and_something_is_always_due(
    happenings: list[tuple[str, FailureKind | None]], later: int
) -> None:
    grant, seconds = a_grant(), 0.0
    for kind, failure in happenings:
        seconds += 60
        at = NOW + seconds * SECOND
        attempt = an_attempt(int(seconds), begun_at=at, generation=grant.generation)
        generation = grant.generation
        if kind == "fail" and failure is not None:
            grant = fail(grant, seconds, failure)
        elif kind == "issue":
            grant = evolve(grant, AttemptBegan(attempt))
            tokens = a_token_set(number=int(seconds), issued_at=at)
            grant = evolve(grant, TokensIssued(attempt.attempt_id, generation, tokens, at))
        elif kind == "reject":
            grant = evolve(grant, TokenRejected(grant.tokens.access_token.fingerprint, NOW))
        elif kind == "accept":
            grant = evolve(grant, TokenAccepted(grant.tokens.access_token.fingerprint))
        else:
            grant = evolve(grant, AttemptBegan(attempt))
            grant = evolve(grant, AttemptOrphaned(attempt.attempt_id, at))
        assert grant.generation >= generation
        assert grant.tokens.refresh_token is not None
    moment = NOW + (seconds + later) * SECOND
    assert ending(grant, moment) is None
    assert isinstance(plan(grant, moment), RefreshNow | WaitUntil)


def test_who_asks_for_a_refresh_does_not_wait_for_the_backoff() -> None:
    grant = a_grant()
    for n in range(5):
        grant = fail(grant, n * 1000, FailureKind.NOT_SENT)
    asked_at = NOW + 4050 * SECOND
    assert plan(grant, asked_at, asked_at=asked_at) == RefreshNow(RefreshCause.RETRY)
    told_to_wait = fail(grant, 5000, FailureKind.TRANSIENT, retry_at=NOW + 5600 * SECOND)
    asked_at = NOW + 5050 * SECOND
    assert plan(told_to_wait, asked_at, asked_at=asked_at) == WaitUntil(
        NOW + 5600 * SECOND, RefreshCause.RETRY
    )


def test_refused_credentials_are_offered_once_an_hour_and_keep_their_backoff_between() -> None:
    grant = a_grant(grant_type=GrantType.CLIENT_CREDENTIALS)
    for n in range(3):
        grant = fail(grant, n * 100, FailureKind.REFUSED, code="invalid_client")
    assert due_in(plan(grant, NOW + 300 * SECOND)) == 200 + 3600
    grant = fail(grant, 3800, FailureKind.TRANSIENT)
    grant = fail(grant, 3810, FailureKind.TRANSIENT)
    assert due_in(plan(grant, NOW + 3815 * SECOND)) == 3830
    asked = NOW + 5000 * SECOND
    told_to_wait = fail(grant, 3830, FailureKind.TRANSIENT, retry_at=asked)
    assert plan(told_to_wait, NOW + 4000 * SECOND) == WaitUntil(asked, RefreshCause.RETRY)


def test_an_absurd_life_of_a_refresh_token_makes_no_storm() -> None:
    tokens = replace(a_token_set(life=HOUR), refresh_expires_at=NOW + 5 * SECOND)
    assert due_in(plan(a_grant(tokens=tokens), NOW)) == 48 * 60
