"""Calls take turns: at each server and in all, in order, with a bound and a deadline."""

import asyncio
from datetime import timedelta

import pytest

from mcpproxy.core.control import Bounds, Control, ServerControl
from mcpproxy.core.errors import Overloaded
from mcpproxy.gateway.shares import Holder
from mcpproxy.gateway.turns import Gate, Gates

pytestmark = pytest.mark.anyio

OWNER = Holder("owner")
LONG, SHORT = timedelta(seconds=30), timedelta(milliseconds=20)


def gates(own: Bounds, common: Bounds | None = None) -> Gates:
    return Gates(Control(others=ServerControl(bounds=own), bounds=common or Bounds(0, 0, LONG)))


async def enter(gate: Gate, order: list[int], number: int, holder: Holder = OWNER) -> None:
    if not gate.enter_now():
        await gate.enter(holder)
    order.append(number)


async def settled() -> None:
    """Everybody who can go on has."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_calls_below_the_limit_never_wait() -> None:
    gate = gates(Bounds(3, 0, LONG)).of("a")
    assert [gate.enter_now() for _ in range(4)] == [True, True, True, False]


async def test_zero_is_no_limit() -> None:
    gate = gates(Bounds(0, 0, LONG)).of("a")
    assert all(gate.enter_now() for _ in range(10_000))


async def test_who_waits_longest_is_next_and_nobody_goes_ahead() -> None:
    gate = gates(Bounds(1, 10, LONG)).of("a")
    assert gate.enter_now()
    order: list[int] = []
    waiting = [asyncio.create_task(enter(gate, order, number)) for number in range(4)]
    await settled()
    for done in range(4):
        assert not gate.enter_now()
        gate.leave()
        await settled()
        assert order == list(range(done + 1))
    await asyncio.gather(*waiting)
    gate.leave()
    assert gate.enter_now()


async def test_one_more_than_may_wait_is_told_which_bound_it_was() -> None:
    gate = gates(Bounds(1, 1, LONG)).of("github")
    assert gate.enter_now()
    waiting = asyncio.create_task(gate.enter(OWNER))
    await settled()
    with pytest.raises(Overloaded) as refused:
        await gate.enter(OWNER)
    assert refused.value.message == "github has 1 call under way, and 1 call waiting already"
    assert "max_concurrent_requests or queue_size of github" in refused.value.next_step
    gate.leave()
    await waiting


async def test_free_places_go_round_among_callers_and_the_sessions_of_each() -> None:
    gate = gates(Bounds(1, 100, LONG)).of("a")
    assert gate.enter_now()
    flood, calm, other = Holder("many", "s1"), Holder("many", "s2"), Holder("one", "s3")
    order: list[int] = []
    waiting = [asyncio.create_task(enter(gate, order, number, flood)) for number in range(10)]
    await settled()
    waiting.append(asyncio.create_task(enter(gate, order, 50, calm)))
    waiting += [asyncio.create_task(enter(gate, order, number, other)) for number in (90, 91)]
    await settled()
    for _ in waiting:
        gate.leave()
        await settled()
    assert order == [0, 90, 50, 91, *range(1, 10)]


async def test_a_full_queue_refuses_the_last_call_of_who_waits_for_most() -> None:
    gate = gates(Bounds(1, 3, LONG)).of("github")
    assert gate.enter_now()
    order: list[int] = []
    many = [asyncio.create_task(enter(gate, order, n, Holder("many"))) for n in range(3)]
    await settled()
    with pytest.raises(Overloaded, match=r"and 3 calls waiting already$"):
        await gate.enter(Holder("many"))
    one = asyncio.create_task(enter(gate, order, 9, Holder("one")))
    with pytest.raises(Overloaded, match="a client with fewer took this one's place"):
        await asyncio.wait_for(many.pop(), 20)
    # Nobody holds more than who comes now: it is that one's turn to be refused.
    for holder in (Holder("one"), Holder("many")):
        with pytest.raises(Overloaded, match=r"3 calls waiting already$"):
            await gate.enter(holder)
    for _ in range(3):
        gate.leave()
        await settled()
    await asyncio.gather(*many, one)
    assert order == [0, 9, 1]
    gate.leave()
    assert gate.enter_now()  # who was refused had no place


async def test_who_waits_too_long_gives_up_and_leaves_no_trace() -> None:
    made = gates(Bounds(1, 5, SHORT))
    gate = made.of("github")
    assert gate.enter_now()
    with pytest.raises(Overloaded, match=r"none ended within 0\.02 s"):
        await gate.enter(OWNER)
    assert [(load.server, load.active, load.waiting) for load in made.loads()] == [
        ("", 1, 0),
        ("github", 1, 0),
    ]
    gate.leave()
    assert gate.enter_now()


async def test_a_call_that_is_cancelled_while_it_waits_gives_its_place_on() -> None:
    gate = gates(Bounds(1, 5, LONG)).of("a")
    assert gate.enter_now()
    first, second = (asyncio.create_task(gate.enter(OWNER)) for _ in range(2))
    await settled()
    gate.leave()  # the first has its place now, but did not run yet
    first.cancel()
    await asyncio.wait([first])
    await asyncio.wait_for(second, 10)
    gate.leave()
    assert gate.enter_now()


async def test_one_server_at_its_bound_leaves_the_others_alone() -> None:
    made = gates(Bounds(1, 5, LONG), Bounds(2, 5, LONG))
    slow, quick = made.of("slow"), made.of("quick")
    assert slow.enter_now()
    waiting = asyncio.create_task(slow.enter(OWNER))
    await settled()
    assert quick.enter_now()
    quick.leave()
    slow.leave()
    await waiting


async def test_the_bound_of_all_holds_over_all_servers_and_names_itself() -> None:
    made = gates(Bounds(5, 5, LONG), Bounds(2, 0, LONG))
    assert made.of("a").enter_now()
    assert made.of("b").enter_now()
    with pytest.raises(Overloaded, match="mcpproxy has 2 calls under way"):
        await made.of("c").enter(OWNER)
    # Who was refused by one bound keeps no place in the other.
    assert [(load.server, load.active) for load in made.loads()] == [
        ("", 2),
        ("a", 1),
        ("b", 1),
        ("c", 0),
    ]


async def test_other_bounds_hold_at_once_for_those_who_wait() -> None:
    made = gates(Bounds(1, 5, LONG))
    gate = made.of("a")
    assert gate.enter_now()
    waiting = [asyncio.create_task(gate.enter(OWNER)) for _ in range(2)]
    await settled()
    wider = Control(others=ServerControl(bounds=Bounds(2, 5, LONG)))
    made.apply(wider, lambda server: True)
    await settled()
    assert [task.done() for task in waiting] == [True, False]
    gate.leave()
    await asyncio.gather(*waiting)
    narrower = Control(others=ServerControl(bounds=Bounds(1, 5, LONG)))
    made.apply(narrower, lambda server: True)
    gate.leave()
    assert not gate.enter_now()
    gate.leave()
    assert gate.enter_now()


async def test_a_server_that_is_gone_is_forgotten_once_it_is_idle() -> None:
    made = gates(Bounds(1, 5, LONG))
    made.of("idle"), made.of("busy").enter_now()
    made.apply(Control(), lambda server: False)
    assert [load.server for load in made.loads()] == ["", "busy"]


async def test_a_place_that_is_lent_is_there_once_and_only_while_it_is_lent() -> None:
    gate = gates(Bounds(1, 0, LONG)).of("a")
    assert gate.enter_now()
    assert not gate.borrow()
    gate.lend()
    assert [gate.borrow(), gate.borrow()] == [True, False]
    gate.take_back()
    gate.give_back()
    assert not gate.borrow()
    gate.leave()
    assert gate.enter_now()
