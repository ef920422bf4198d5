"""Virtual time: it moves only when nothing can run, and a program that hangs is told of."""

import asyncio

import pytest

from tests.simulation.loop import Stuck, run_virtually


def test_a_day_passes_at_once() -> None:
    async def wait_a_day() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    assert run_virtually(wait_a_day()) == 86_400


def test_timers_go_off_in_their_order() -> None:
    async def three() -> list[int]:
        order: list[int] = []

        async def after(seconds: int) -> None:
            await asyncio.sleep(seconds)
            order.append(seconds)

        await asyncio.gather(after(3), after(1), after(2))
        return order

    assert run_virtually(three()) == [1, 2, 3]


def test_a_deadlock_is_told_of() -> None:
    async def wait_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="no timer"):
        run_virtually(wait_for_nothing())


def test_a_circle_in_which_no_time_passes_is_told_of() -> None:
    async def run_in_a_circle() -> None:
        for _ in range(200_000):
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="no time passes"):
        run_virtually(run_in_a_circle())
