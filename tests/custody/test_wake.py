"""A machine that slept, or whose clock was set, is noticed; a busy one is left alone."""

import asyncio
from datetime import timedelta

import pytest

from mcpproxy.custody.wake import Awoken, WakeWatch
from tests.custody.bench import HOUR, SECOND, Bench, virtually


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
