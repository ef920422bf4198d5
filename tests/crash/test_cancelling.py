"""A caller that goes away, or a daemon that stops, at each turn of the event loop there is.

Virtual time: what a caller waits for is run once for every turn it takes, and cut off there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import Grant, Phase, Secret
from mcpproxy.core.ports import Lease, LeaseHold
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from tests.builders import SERVER_URL
from tests.custody.bench import HOUR, NAME, Bench, Disk, until
from tests.simulation.loop import VirtualLoop

Wanted = Callable[[RefreshManager], Awaitable[object]]

TURNS_AT_LEAST = 20
"""Fewer would mean that a refresh is not what is cut off."""


async def a_moment() -> None:
    """What a thread or a disk takes: time in which a caller may go away."""
    await asyncio.sleep(0.01)


class SlowDisk(Disk):
    """Takes a moment before and after everything."""

    async def load_grant(self, server: str) -> Grant | None:
        await a_moment()
        grant = await super().load_grant(server)
        await a_moment()
        return grant

    async def save_grant(
        self, grant: Grant, *, expected_revision: int | None, line: LedgerLine | None = None
    ) -> bool:
        await a_moment()
        saved = await super().save_grant(grant, expected_revision=expected_revision, line=line)
        await a_moment()
        return saved


class SlowLease:
    """The port Lease; takes its moments as well."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        await a_moment()
        hold = await self._lease.acquire(name, ttl)
        await a_moment()
        return hold

    async def release(self, hold: LeaseHold) -> None:
        await a_moment()
        await self._lease.release(hold)
        await a_moment()


class SlowBench(Bench):
    """A bench on which nothing is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SlowDisk(self.world)

    def tools(self, name: str = "p1") -> RefreshTools:
        tools = super().tools(name)
        return replace(tools, lease=SlowLease(tools.lease))


class CountingLoop(VirtualLoop):
    """Calls `strike` before turn number `at`, counted from when it was set."""

    turns = 0
    at = 0

    def strike(self) -> None:
        return

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns == self.at:
            self.strike()
        super()._run_once()  # type: ignore[misc]


def on_a_counting_loop(work: Callable[[CountingLoop], Coroutine[Any, Any, int]]) -> int:
    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop))


# --- the caller -----------------------------------------------------------------------------------


async def _token(manager: RefreshManager) -> object:
    return await manager.token(NAME, SERVER_URL)


async def _challenged(manager: RefreshManager) -> object:
    return await manager.challenged(NAME, SERVER_URL, Secret("access-1"))


async def _refresh_now(manager: RefreshManager) -> object:
    return await manager.refresh_now(NAME)


def _had_asked(wanted: Wanted, turn: int, stored: Grant) -> bool:
    """Whether the caller got as far as to ask for a refresh, or one was due in any case."""
    if wanted is _challenged:
        return stored.rejected is not None
    return turn > 1 or wanted is _token


@pytest.mark.parametrize(
    ("wanted", "age"), [(_token, HOUR), (_challenged, HOUR / 4), (_refresh_now, HOUR / 4)]
)
def test_a_caller_that_is_cancelled_at_any_turn_cancels_no_refresh(
    wanted: Wanted, age: timedelta
) -> None:
    def cut_at(turn: int) -> int:
        """Cut the caller off there; how many turns there were in all."""

        async def story(loop: CountingLoop) -> int:
            async with SlowBench() as bench:
                bench.store(age=age)
                manager = await bench.start()
                caller = asyncio.ensure_future(wanted(manager))

                def leave() -> None:
                    caller.cancel()

                loop.strike = leave  # type: ignore[method-assign]
                loop.turns, loop.at = 0, turn
                outcome = (await asyncio.gather(caller, return_exceptions=True))[0]
                turns = loop.turns
                if not isinstance(outcome, asyncio.CancelledError):
                    assert not isinstance(outcome, BaseException), outcome
                elif _had_asked(wanted, turn, bench.stored):
                    await until(lambda: bench.stored.generation == 2)
                await asyncio.sleep(60)
                assert bench.endpoint.presented in (["refresh-1"], [])
                assert bench.stored.generation == len(bench.endpoint.presented) + 1
                assert bench.stored.attempt is None
                assert bench.stored.failures is None
                return turns

        return on_a_counting_loop(story)

    turns = cut_at(0)
    assert turns >= TURNS_AT_LEAST
    for turn in range(1, turns + 1):
        cut_at(turn)


def test_a_daemon_that_stops_at_any_turn_of_a_refresh_stores_what_it_was_given() -> None:
    def stop_at(turn: int) -> int:
        async def story(loop: CountingLoop) -> int:
            async with SlowBench() as bench:
                bench.store(age=HOUR)
                manager = await bench.start()
                told = asyncio.Event()

                def stop() -> None:
                    bench.sending_allowed = False
                    told.set()

                loop.strike = stop  # type: ignore[method-assign]
                loop.turns, loop.at = 0, turn
                stopping = asyncio.ensure_future(told.wait())
                refreshed = asyncio.ensure_future(_token(manager))
                await asyncio.wait({stopping, refreshed}, return_when=asyncio.FIRST_COMPLETED)
                turns = loop.turns
                await manager.stop()
                for waiting in (stopping, refreshed):
                    waiting.cancel()
                assert bench.stored.generation == len(bench.endpoint.presented) + 1
                attempt = bench.stored.attempt
                assert attempt is None or attempt.phase is Phase.CONNECTING
                return turns

        return on_a_counting_loop(story)

    turns = stop_at(0)
    assert turns >= TURNS_AT_LEAST
    for turn in range(1, turns + 1):
        stop_at(turn)
