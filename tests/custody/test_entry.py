"""What is in memory about a grant is a cache: it follows the store, lag and clocks apart."""

from dataclasses import replace
from datetime import timedelta

from mcpproxy.core.events import RefreshFailed
from mcpproxy.core.evolution import evolve
from mcpproxy.core.lifecycle import RefreshNow, WaitUntil
from mcpproxy.core.model import FailureKind
from mcpproxy.core.notices import LoginLost, RefreshScheduled, RetryScheduled
from mcpproxy.core.policy import DEFAULT_POLICY
from mcpproxy.custody.entry import Entry
from mcpproxy.custody.journal import MAX_READ_LAG
from tests.builders import NOW, a_failure, a_grant, an_attempt
from tests.custody.bench import HOUR, SECOND, Notices

BOOT = timedelta(hours=5)


def test_newer_facts_are_taken_and_older_ones_are_not() -> None:
    grant = a_grant(revision=3)
    entry = Entry(grant, BOOT)
    entry.take(replace(grant, revision=2), BOOT + SECOND)
    assert entry.grant.revision == 3
    entry.take(replace(grant, revision=4), BOOT + SECOND)
    assert entry.grant.revision == 4


def test_facts_that_still_look_older_after_the_longest_lag_are_the_truth() -> None:
    grant = a_grant(revision=3)
    entry = Entry(grant, BOOT)
    entry.take(replace(grant, revision=2), BOOT + MAX_READ_LAG)
    assert entry.grant.revision == 2


def test_an_older_login_is_not_taken_for_the_newer_one() -> None:
    grant = a_grant()
    entry = Entry(grant, BOOT)
    before = replace(grant, login_id="login-0", logged_in_at=NOW - HOUR, revision=90)
    entry.take(before, BOOT + SECOND)
    assert entry.grant == grant


def test_a_plan_to_wait_stands_until_its_time_has_come() -> None:
    entry = Entry(a_grant(), BOOT)
    step = entry.step(NOW, DEFAULT_POLICY, None)
    assert isinstance(step, WaitUntil)
    assert entry.step(NOW + timedelta(minutes=20), DEFAULT_POLICY, None) is step
    assert isinstance(entry.step(step.at, DEFAULT_POLICY, None), RefreshNow)


def test_asking_makes_a_new_plan() -> None:
    entry = Entry(a_grant(), BOOT)
    entry.step(NOW, DEFAULT_POLICY, None)
    entry.ask(NOW)
    assert isinstance(entry.step(NOW, DEFAULT_POLICY, None), RefreshNow)


def test_a_schedule_is_told_once() -> None:
    entry, notices = Entry(a_grant(), BOOT), Notices()
    step = entry.step(NOW, DEFAULT_POLICY, None)
    entry.tell(step, NOW, notices)
    entry.tell(step, NOW + SECOND, notices)
    assert notices == [RefreshScheduled("github-mcp", 1, NOW + timedelta(minutes=48))]


def test_a_retry_is_told_with_its_number_and_reason() -> None:
    failure = a_failure()
    grant = a_grant(attempt=an_attempt(1), last_begun_at=NOW)
    failed = evolve(grant, RefreshFailed("attempt-1", failure, NOW + SECOND))
    entry, notices = Entry(failed, BOOT), Notices()
    entry.tell(entry.step(NOW + SECOND, DEFAULT_POLICY, None), NOW + SECOND, notices)
    assert notices == [RetryScheduled("github-mcp", 1, 1, NOW + 10 * SECOND, failure)]


def test_an_ending_is_told_once_with_its_evidence() -> None:
    grant = a_grant()
    for _ in range(2):
        attempt = an_attempt(1)
        refused = a_failure(FailureKind.REFUSED, "invalid_grant", code="invalid_grant")
        event = RefreshFailed(attempt.attempt_id, refused, NOW)
        grant = evolve(replace(grant, attempt=attempt), event)
    entry, notices = Entry(grant, BOOT), Notices()
    for _ in range(3):
        entry.tell(entry.step(NOW, DEFAULT_POLICY, None), NOW, notices)
    assert notices.of(LoginLost) == [LoginLost("github-mcp", "provider_ended", "invalid_grant")]
