"""The bus: bounded, replaying, never in anybody's way."""

from datetime import UTC, datetime, timedelta

import pytest

from mcpproxy.core.notices import LoggedOut, Notice
from mcpproxy.observability.bus import Bus, Event, Gap
from tests.web.stubs import ManualClock

pytestmark = pytest.mark.anyio

NO_WAIT = timedelta()
LONG = timedelta(seconds=10)


def bus(replay: int = 16) -> Bus:
    return Bus(ManualClock(), replay=replay)


def names(*events: Event | Gap | None) -> list[str]:
    return [e.notice.server if isinstance(e, Event) else type(e).__name__ for e in events]


async def test_a_subscriber_gets_what_is_published_from_now_on() -> None:
    made = bus()
    made.publish(LoggedOut("before"))
    subscription = made.subscribe()
    made.publish(LoggedOut("a"))
    made.publish(LoggedOut("b"))
    got = [await subscription.next(LONG), await subscription.next(LONG)]
    assert names(*got) == ["a", "b"]
    assert await subscription.next(NO_WAIT) is None


async def test_a_client_that_comes_back_gets_what_it_missed_and_then_what_comes() -> None:
    made = bus()
    subscription = made.subscribe()
    made.publish(LoggedOut("a"))
    seen = await subscription.next(LONG)
    assert isinstance(seen, Event)
    made.publish(LoggedOut("b"))
    made.publish(LoggedOut("c"))
    back = made.subscribe(after=seen.event_id)
    made.publish(LoggedOut("d"))
    assert names(*[await back.next(LONG) for _ in range(3)]) == ["b", "c", "d"]


async def test_an_id_that_is_too_old_or_of_another_run_starts_with_a_gap() -> None:
    made = bus(replay=2)
    first = made.subscribe()
    for name in ("a", "b", "c", "d"):
        made.publish(LoggedOut(name))
    old = await first.next(LONG)
    assert isinstance(old, Event)
    for unknown in (old.event_id, "7f-1", "nonsense"):
        assert names(await made.subscribe(after=unknown).next(LONG)) == ["Gap"]


async def test_the_ids_of_two_runs_never_meet() -> None:
    later = Bus(ManualClock(datetime(2027, 1, 1, tzinfo=UTC)))
    earlier = bus()
    ids = []
    for each in (earlier, later):
        subscription = each.subscribe()
        each.publish(LoggedOut("x"))
        event = await subscription.next(LONG)
        assert isinstance(event, Event)
        ids.append(event.event_id)
    assert ids[0] != ids[1]


async def test_a_slow_subscriber_is_bounded_and_told_that_it_missed_something() -> None:
    made = bus()
    slow, quick = made.subscribe(capacity=3), made.subscribe(capacity=1000)
    for number in range(500):
        made.publish(LoggedOut(f"s{number}"))
    assert len(slow) <= 4
    assert names(await slow.next(LONG)) == ["Gap"]
    assert len(quick) == 500
    assert made.depth() == 500


async def test_a_listener_that_fails_disturbs_nobody() -> None:
    made = bus()
    heard: list[Notice] = []

    def broken(_: Notice) -> None:
        raise RuntimeError("listener")

    made.hear(broken)
    made.hear(heard.append)
    made.publish(LoggedOut("a"))
    assert heard == [LoggedOut("a")]


async def test_closing_ends_every_subscription_after_what_waits_in_it() -> None:
    made = bus()
    subscription = made.subscribe()
    made.publish(LoggedOut("last"))
    made.close()
    assert names(await subscription.next(LONG)) == ["last"]
    assert await subscription.next(LONG) is None
    assert subscription.closed
    assert made.subscribe().closed
