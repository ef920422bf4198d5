"""How fast one issuer is asked, and who goes first."""

from dataclasses import replace
from datetime import datetime, timedelta

from mcpproxy.core.model import FailureKind, FailureRun, Grant
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.custody.pacing import NEVER, Pacer, Urgency
from tests.builders import NOW, a_failure, a_grant

SECOND = timedelta(seconds=1)
POLICY = RefreshPolicy(pace=10.0, burst=1, in_flight=3)
ISSUER = "https://auth.example.com"


class Stopwatch:
    """The port Clock, moved by hand."""

    def __init__(self) -> None:
        self.at = timedelta(0)

    def now(self) -> datetime:
        return NOW + self.at

    def elapsed(self) -> timedelta:
        return self.at

    def suspended(self) -> timedelta:
        return timedelta(0)


def tried(grant: Grant, *, status: int | None = None, wait: timedelta | None = None) -> Grant:
    """`grant` after an attempt; with a status, after one that failed by it."""
    after = replace(grant, last_begun_at=NOW + SECOND)
    if status is None:
        return after
    failure = replace(
        a_failure(FailureKind.TRANSIENT, retry_at=None if wait is None else NOW + wait),
        status=status,
    )
    return replace(after, failures=FailureRun(1, NOW, NOW, failure))


def pass_through(pacer: Pacer, clock: Stopwatch, span: timedelta) -> list[str]:
    """Who begins within `span`, each ending at once and without complaint."""
    begun: list[str] = []
    end = clock.at + span
    while clock.at < end:
        for server in pacer.ready(clock.at):
            begun.append(server)
            pacer.finished(server, ISSUER, a_grant(), tried(a_grant()), clock)
        clock.at += timedelta(milliseconds=10)
    return begun


def offer_many(pacer: Pacer, count: int) -> None:
    for n in range(count):
        pacer.offer(f"server-{n}", ISSUER, Urgency.EXPIRED)


def test_one_issuer_is_asked_at_its_pace_and_another_beside_it() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    offer_many(pacer, 50)
    pacer.offer("elsewhere", "https://other.example.com", Urgency.AHEAD_OF_TIME)
    assert set(pacer.ready(clock.at)) == {"server-0", "elsewhere"}
    pacer.finished("server-0", ISSUER, a_grant(), tried(a_grant()), clock)
    clock.at += SECOND / 10
    begun = pass_through(pacer, clock, SECOND)
    assert begun == [f"server-{n}" for n in range(1, 11)]


def test_who_is_waited_for_goes_first_but_for_a_window_that_closes() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    offer_many(pacer, 50)
    pacer.offer("server-40", ISSUER, Urgency.CALLER_WAITS)
    pacer.offer("server-30", ISSUER, Urgency.WINDOW_CLOSING)
    begun = pass_through(pacer, clock, SECOND)
    assert begun[:3] == ["server-30", "server-40", "server-0"]
    assert begun.count("server-40") == 1


def test_no_more_than_so_many_are_under_way_at_once() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    offer_many(pacer, 5)
    under_way: list[str] = []
    for _ in range(10):
        under_way += pacer.ready(clock.at)
        clock.at += SECOND
    assert under_way == ["server-0", "server-1", "server-2"]
    assert pacer.next_at() == NEVER
    pacer.finished("server-1", ISSUER, a_grant(), tried(a_grant()), clock)
    assert pacer.ready(clock.at) == ["server-3"]


def test_after_a_complaint_nobody_goes_before_the_named_moment_and_then_at_half_the_speed() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    offer_many(pacer, 200)
    pass_through(pacer, clock, 2 * SECOND)
    while not (begun := pacer.ready(clock.at)):
        clock.at += timedelta(milliseconds=10)
    answer = tried(a_grant(), status=429, wait=clock.at + 7 * SECOND)
    pacer.finished(begun[0], ISSUER, a_grant(), answer, clock)
    complained_at = clock.at
    assert pacer.next_at() == complained_at + 7 * SECOND
    assert pass_through(pacer, clock, 7 * SECOND) == []
    assert 9 <= len(pass_through(pacer, clock, 2 * SECOND)) <= 11


def test_a_provider_that_did_not_complain_for_an_hour_is_asked_at_full_speed_again() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    pacer.offer("first", ISSUER, Urgency.EXPIRED)
    pacer.ready(clock.at)
    answer = tried(a_grant(), status=503, wait=SECOND)
    pacer.finished("first", ISSUER, a_grant(), answer, clock)
    clock.at += timedelta(hours=1, seconds=1)
    offer_many(pacer, 50)
    assert len(pass_through(pacer, clock, SECOND)) == 10


def test_a_503_without_a_wait_is_trouble_of_its_own_and_slows_nobody() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    offer_many(pacer, 20)
    (first,) = pacer.ready(clock.at)
    pacer.finished(first, ISSUER, a_grant(), tried(a_grant(), status=503), clock)
    clock.at += SECOND / 10
    assert len(pass_through(pacer, clock, SECOND)) == 10


def test_what_is_withdrawn_does_not_begin() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    offer_many(pacer, 2)
    pacer.withdraw("server-0")
    assert pacer.ready(clock.at) == ["server-1"]


def test_a_few_that_wake_together_are_not_held_back_until_somebody_complains() -> None:
    pacer, clock = Pacer(RefreshPolicy(pace=10.0, burst=20, in_flight=50)), Stopwatch()
    offer_many(pacer, 100)
    first = pacer.ready(clock.at)
    assert len(first) == 20
    clock.at += SECOND
    assert len(pacer.ready(clock.at)) == 10
    answer = tried(a_grant(), status=429, wait=clock.at + SECOND)
    pacer.finished(first[0], ISSUER, a_grant(), answer, clock)
    clock.at += 2 * SECOND
    assert len(pacer.ready(clock.at)) == 1


def test_a_lost_answer_is_asked_for_again_past_a_shut_lane() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    pacer.offer("first", ISSUER, Urgency.EXPIRED)
    pacer.ready(clock.at)
    answer = tried(a_grant(), status=429, wait=timedelta(minutes=10))
    pacer.finished("first", ISSUER, a_grant(), answer, clock)
    assert pacer.shut_until(ISSUER) == timedelta(minutes=10)
    clock.at += 5 * SECOND
    pacer.offer("waited for", ISSUER, Urgency.CALLER_WAITS)
    pacer.offer("lost its answer", ISSUER, Urgency.WINDOW_CLOSING)
    pacer.offer("lost one too", ISSUER, Urgency.WINDOW_CLOSING)
    assert pacer.next_at() <= clock.at
    assert pacer.ready(clock.at) == ["lost its answer"]
    assert pacer.next_at() == clock.at + SECOND
    clock.at += SECOND
    assert pacer.ready(clock.at) == ["lost one too"]
    clock.at += SECOND
    assert pacer.ready(clock.at) == []


def test_a_rescue_does_not_shut_the_lane_for_longer() -> None:
    pacer, clock = Pacer(POLICY), Stopwatch()
    pacer.offer("first", ISSUER, Urgency.EXPIRED)
    pacer.ready(clock.at)
    pacer.finished("first", ISSUER, a_grant(), tried(a_grant(), status=429, wait=SECOND * 5), clock)
    pacer.offer("waited for", ISSUER, Urgency.CALLER_WAITS)
    begun: list[str] = []
    for n in range(8):
        pacer.offer(f"lost-{n}", ISSUER, Urgency.WINDOW_CLOSING)
        now = pacer.ready(clock.at)
        for server in now:
            pacer.finished(server, ISSUER, a_grant(), tried(a_grant()), clock)
        begun += now
        clock.at += SECOND
    begun += pacer.ready(clock.at) + pacer.ready(clock.at + SECOND)
    assert "waited for" in begun
