"""A machine that slept, or whose clock was set, is noticed; a busy one is left alone."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.wake import Awoken, WakeWatch
from tests.custody.bench import HOUR, NAME, SECOND, UNREACHABLE, Bench, until, virtually


@virtually
async def test_time_that_just_passes_is_nothing() -> None:
    async with Bench() as bench:
        watch = WakeWatch(bench.clock)
        await asyncio.sleep(3600)
        assert watch.look() is None
        assert watch.woken_at is None


@virtually
async def test_a_sleep_is_noticed_once_with_its_length() -> None:
    async with Bench() as bench:
        watch = WakeWatch(bench.clock)
        bench.clock.sleep(8 * HOUR)
        assert watch.look() == Awoken("suspend", 8 * HOUR)
        assert watch.look() is None
        assert watch.woken_at == bench.clock.now()


@virtually
@pytest.mark.parametrize("step", [timedelta(days=365), timedelta(days=-365), 10 * SECOND])
async def test_a_clock_that_is_set_is_noticed_either_way(step: timedelta) -> None:
    async with Bench() as bench:
        watch = WakeWatch(bench.clock)
        bench.clock.step(step)
        assert watch.look() == Awoken("clock_step", abs(step))
        assert watch.woken_at == bench.clock.now()


@virtually
async def test_a_short_gap_or_a_clock_that_is_trimmed_is_no_wake() -> None:
    async with Bench() as bench:
        watch = WakeWatch(bench.clock)
        bench.clock.sleep(4 * SECOND)
        bench.clock.step(SECOND)
        assert watch.look() is None


@virtually
async def test_a_provider_that_can_be_reached_again_is_tried_at_once_and_no_other() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.put(replace(bench.stored, server="jira", issuer="https://other.example.com"))
        bench.endpoint.replies = [UNREACHABLE]
        manager = await bench.start()
        await until(lambda: failures(bench, "jira") == failures(bench, NAME) == 4, within=100)
        bench.endpoint.replies = []
        await asyncio.sleep(15)
        manager.reachable_again(bench.stored.issuer)
        await until(lambda: bench.stored.generation == 2, within=2.0)
        assert failures(bench, "jira") == 4
        assert bench.world.grants["jira"].generation == 1


@virtually
async def test_the_minimum_interval_holds_for_a_provider_that_can_be_reached_again() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.replies = [UNREACHABLE]
        manager = await bench.start()
        for _ in range(60):
            await asyncio.sleep(1)
            manager.reachable_again(bench.stored.issuer)
        assert 5 <= failures(bench, NAME) <= 7


@virtually
async def test_what_was_reached_by_a_clock_that_was_wrong_is_forgotten_with_it() -> None:
    """Else every failure would look older than that, and the backoff be none for a year."""
    async with Bench() as bench:
        bench.clock.step(timedelta(days=365))
        bench.store(age=2 * HOUR)
        bench.endpoint.replies = [UNREACHABLE]
        manager = await bench.start()
        await until(lambda: failures(bench, NAME) == 1)
        manager.reachable_again(bench.stored.issuer)
        bench.clock.step(timedelta(days=-365))
        await asyncio.sleep(3600)
        assert failures(bench, NAME) <= 18


class Laptop(Bench):
    """A machine that is online once `online` is set, with one login that is fresh."""

    def __init__(self) -> None:
        super().__init__()
        self.online = asyncio.Event()
        self.store()

    def tools(self, name: str = "p1") -> RefreshTools:
        return replace(super().tools(name), is_online=self.online.is_set)


@virtually
async def test_after_a_sleep_nothing_is_spent_on_a_network_that_is_not_there_yet() -> None:
    laptop = Laptop()
    async with laptop:
        manager = await laptop.start()
        laptop.clock.sleep(8 * HOUR)
        await asyncio.sleep(8)
        assert laptop.stored.last_begun_at is None
        laptop.online.set()
        manager.network_changed()
        await until(lambda: laptop.stored.generation == 2, within=1.0)


@virtually
async def test_a_machine_that_gets_no_network_is_believed_to_need_none() -> None:
    """Its providers may be on it."""
    laptop = Laptop()
    async with laptop:
        await laptop.start()
        laptop.clock.sleep(8 * HOUR)
        await until(lambda: laptop.stored.generation == 2, within=17.0)


@virtually
async def test_without_a_sleep_nobody_asks_for_a_network() -> None:
    laptop = Laptop()
    async with laptop:
        await laptop.start()
        laptop.clock.step(2 * HOUR)
        await until(lambda: laptop.stored.generation == 2, within=2.0)


def failures(bench: Bench, server: str) -> int:
    run = bench.world.grants[server].failures
    return run.count if run else 0
