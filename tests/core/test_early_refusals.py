"""Providers that refuse for now what they will take later: when they are asked again, and what is
learned of it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mcpproxy.core.events import AttemptBegan, TokensIssued
from mcpproxy.core.evolution import evolve
from mcpproxy.core.lifecycle import AwaitLogin, RefreshNow, WaitUntil, ending, plan, scheduled
from mcpproxy.core.model import (
    FailureKind,
    FailureRun,
    Grant,
    GrantType,
    Learned,
    RefreshCause,
    RefreshFailure,
    RegistrationSource,
)
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.core.repair import Repair, repair_due
from tests.builders import NOW, a_client, a_grant, a_token_set, an_attempt
from tests.core.attempts import HOUR, MINUTE, SECOND, fail

DAY = timedelta(days=1)
MARGIN = 10 * SECOND
"""By how much clocks may differ."""


def after(issued: timedelta, *, life: timedelta | None = HOUR) -> Grant:
    """A login whose token set was issued so long ago."""
    return a_grant(tokens=a_token_set(issued_at=NOW - issued, life=life))


def refused(grant: Grant, *at_seconds: float, code: str = "invalid_grant") -> Grant:
    for at in at_seconds:
        grant = fail(grant, at, FailureKind.REFUSED, code=code)
    return grant


def granted(grant: Grant, at: datetime, *, life: timedelta = HOUR) -> Grant:
    """A refresh that succeeds."""
    attempt = an_attempt(99, begun_at=at, generation=grant.generation)
    tokens = a_token_set(number=grant.generation + 1, issued_at=at, life=life)
    begun = evolve(grant, AttemptBegan(attempt))
    return evolve(begun, TokensIssued(attempt.attempt_id, grant.generation, tokens, at))


# --- a new token that not every replica knows yet -------------------------------------------------


@pytest.mark.parametrize("age", [0, 5, 49])
def test_a_refused_new_token_is_asked_for_again_when_every_replica_knows_it(age: int) -> None:
    grant = refused(after(age * SECOND), 0)
    known_at = NOW + (60 - age) * SECOND
    assert plan(grant, NOW + 2 * SECOND) == WaitUntil(known_at, RefreshCause.CONFIRM)
    assert plan(grant, known_at) == RefreshNow(RefreshCause.CONFIRM)
    assert ending(grant, known_at - SECOND) is None


@pytest.mark.parametrize("age", [50, 60, 3000])
def test_a_refused_token_that_all_must_know_is_confirmed_after_10_s(age: int) -> None:
    grant = refused(after(age * SECOND), 0)
    assert plan(grant, NOW) == WaitUntil(NOW + 10 * SECOND, RefreshCause.CONFIRM)


def test_the_time_that_replicas_get_is_of_the_policys_scale() -> None:
    policy = RefreshPolicy(confirm_after=SECOND, min_interval=SECOND)
    grant = refused(after(2 * SECOND), 0)
    assert plan(grant, NOW, policy) == WaitUntil(NOW + 4 * SECOND, RefreshCause.CONFIRM)


def test_the_client_and_client_credentials_are_not_waited_for() -> None:
    at = WaitUntil(NOW + 10 * SECOND, RefreshCause.CONFIRM)
    assert plan(refused(after(0 * SECOND), 0, code="invalid_client"), NOW) == at
    credentials = replace(after(0 * SECOND), grant_type=GrantType.CLIENT_CREDENTIALS)
    assert plan(refused(credentials, 0), NOW) == at


def test_a_dead_access_token_and_a_standing_refusal_are_an_end_though_the_token_is_new() -> None:
    grant = refused(after(5 * SECOND, life=15 * SECOND), 0)
    assert ending(grant, NOW + 9 * SECOND) is None
    assert ending(grant, NOW + 10 * SECOND) is not None
    assert plan(grant, NOW + 55 * SECOND) == RefreshNow(RefreshCause.CONFIRM)


@pytest.mark.parametrize("back", [2 * MINUTE, HOUR, 365 * DAY])
def test_a_clock_that_is_set_back_puts_no_confirmation_off(back: timedelta) -> None:
    grant = refused(after(5 * SECOND), 0)
    assert plan(grant, NOW - back) == RefreshNow(RefreshCause.CONFIRM)
    before = refused(after(-back), 0)  # set back between the issue and the refusal
    step = plan(before, NOW)
    assert isinstance(step, WaitUntil)
    assert step.at <= NOW + MINUTE


# --- the last question ----------------------------------------------------------------------------


@pytest.mark.parametrize(("life", "left"), [(HOUR, 12 * MINUTE), (5 * DAY, DAY)])
def test_the_last_question_waits_for_the_death_of_the_access_token(
    life: timedelta, left: timedelta
) -> None:
    grant = refused(after(life - left, life=life), 0, 10)
    at = NOW + left + MARGIN
    assert ending(grant, NOW + 12 * SECOND) is not None, "the verdict does not wait"
    assert plan(grant, NOW + 12 * SECOND) == WaitUntil(at, RefreshCause.PROBE)
    assert plan(grant, at + 5 * HOUR) == RefreshNow(RefreshCause.PROBE), "it was asleep"
    seconds = (at - NOW).total_seconds()
    assert plan(refused(grant, seconds), at + MINUTE) == AwaitLogin()


@pytest.mark.parametrize(
    "grant",
    [
        after(HOUR),
        after(HOUR - 9 * SECOND),
        after(HOUR - 70 * SECOND),
        after(DAY, life=2 * DAY + SECOND),
        after(HOUR, life=None),
    ],
    ids=["dead", "dead when it was confirmed", "dead soon", "dead in days", "no life known"],
)
def test_the_last_question_comes_after_90_s_where_there_is_nothing_to_wait_for(
    grant: Grant,
) -> None:
    grant = refused(grant, 0, 10)
    assert plan(grant, NOW + 12 * SECOND) == WaitUntil(NOW + 90 * SECOND, RefreshCause.PROBE)


def test_the_last_question_about_a_client_does_not_wait() -> None:
    at = WaitUntil(NOW + 90 * SECOND, RefreshCause.PROBE)
    client = replace(a_client(), source=RegistrationSource.CONFIGURED)
    theirs = replace(after(48 * MINUTE), client=client)
    assert plan(refused(theirs, 0, 10, code="invalid_client"), NOW + 12 * SECOND) == at
    credentials = replace(after(48 * MINUTE), grant_type=GrantType.CLIENT_CREDENTIALS)
    assert plan(refused(credentials, 0, 10), NOW + 12 * SECOND) == at


@pytest.mark.parametrize("back", [2 * MINUTE, HOUR, 20 * HOUR, 2 * DAY, 365 * DAY])
def test_a_clock_that_is_set_back_puts_the_last_question_off_for_a_day_at_most(
    back: timedelta,
) -> None:
    """Asked at once it might come too early; asked never it helps nobody."""
    grant = refused(after(48 * MINUTE), 0, 10)
    now = NOW - back
    match plan(grant, now):
        case WaitUntil(at, RefreshCause.PROBE):
            assert at == NOW + 12 * MINUTE + MARGIN
            assert at - now <= DAY + MARGIN
        case step:
            assert step == RefreshNow(RefreshCause.PROBE)
            assert back > 20 * HOUR
    twice = refused(after(48 * MINUTE), 0, -back.total_seconds())  # set back between the two
    step = plan(twice, now)
    assert isinstance(step, WaitUntil)
    assert step.at - now <= DAY + MARGIN


def test_an_endpoint_that_moved_since_the_refusals_is_looked_up_for_the_last_question() -> None:
    grant = refused(after(48 * MINUTE), 0, 10)
    gone = RefreshFailure(FailureKind.TRANSIENT, "HTTP 404", status=404)
    at = NOW + 12 * MINUTE + MARGIN
    grant = replace(grant, failures=FailureRun(1, at, at, gone))
    assert repair_due(grant, at + SECOND) is Repair.ENDPOINT


# --- what is learned ------------------------------------------------------------------------------


def test_who_refused_while_the_access_token_lived_is_asked_at_its_death_from_then_on() -> None:
    grant = refused(after(48 * MINUTE), 0, 10)
    dead_at = NOW + 12 * MINUTE + MARGIN
    grant = granted(grant, dead_at)
    assert grant.learned.refuses_early
    assert ending(grant, dead_at) is None
    for _ in range(3):
        expires_at = grant.tokens.expires_at
        assert expires_at is not None
        waits = WaitUntil(expires_at, RefreshCause.SCHEDULED)
        assert plan(grant, grant.tokens.issued_at + 59 * MINUTE) == waits
        assert plan(grant, expires_at) == RefreshNow(RefreshCause.EXPIRED)
        grant = granted(grant, expires_at)
    assert grant.learned.refuses_early


def test_a_life_that_is_too_short_to_ask_twice_teaches_with_one_refusal() -> None:
    grant = granted(refused(after(32 * SECOND, life=40 * SECOND), 0), NOW + 28 * SECOND)
    assert grant.learned.refuses_early


def test_what_is_no_early_refusal_teaches_nothing() -> None:
    dead_at = NOW + 12 * MINUTE
    known = {
        "once": granted(refused(after(48 * MINUTE), 0), dead_at),
        "still alive": granted(refused(after(48 * MINUTE), 0, 10), NOW + 90 * SECOND),
        "already dead": granted(refused(after(HOUR - 5 * SECOND), 0, 10), dead_at),
        "the client": granted(refused(after(48 * MINUTE), 0, 10, code="invalid_client"), dead_at),
        "not refused": granted(after(48 * MINUTE), dead_at),
        "no life": granted(refused(after(48 * MINUTE, life=None), 0, 10), dead_at),
        "a clock set back": granted(refused(after(-HOUR), 0, 10), NOW + 3 * HOUR),
    }
    assert [why for why, grant in known.items() if grant.learned.refuses_early] == []


def test_a_refusal_at_the_end_of_a_life_unlearns_nothing_and_goes_the_usual_way() -> None:
    dead = replace(after(HOUR), learned=Learned(refuses_early=True))
    grant = refused(dead, 0)
    assert plan(grant, NOW) == WaitUntil(NOW + 10 * SECOND, RefreshCause.CONFIRM)
    assert granted(grant, NOW + 10 * SECOND).learned.refuses_early


def test_an_earlier_bound_counts_for_a_provider_that_refuses_early_too() -> None:
    known = replace(after(0 * SECOND, life=30 * DAY), learned=Learned(refuses_early=True))
    assert scheduled(known) == NOW + 7 * DAY
    bounded = replace(known.tokens, refresh_expires_at=NOW + 2 * DAY)
    assert scheduled(replace(known, tokens=bounded)) == NOW + DAY


def test_a_401_and_a_person_are_heard_at_once_by_a_login_whose_provider_refuses_early() -> None:
    known = replace(after(10 * MINUTE), learned=Learned(refuses_early=True))
    rejected = replace(known, rejected="0123abcd", rejected_at=NOW, rejections=1)
    assert plan(rejected, NOW) == RefreshNow(RefreshCause.CHALLENGED)
    assert plan(known, NOW, asked_at=NOW) == RefreshNow(RefreshCause.ASKED)
