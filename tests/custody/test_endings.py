"""An end is written down once, whoever notices it and however often."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from mcpproxy.core.errors import StoreTrouble
from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import FailureKind, Grant, Refusals
from mcpproxy.core.notices import LedgerWritten, LoggedOut, LoginLost
from mcpproxy.custody.endings import Endings
from tests.builders import a_failure
from tests.custody.bench import NAME, Bench, until, virtually

LOST = LoginLost(NAME, "provider_ended", "invalid_grant")


class Facts:
    """What a process has in memory: what was stored when it started."""

    def __init__(self, grant: Grant) -> None:
        self._grant = grant

    def grant(self, server: str) -> Grant | None:
        return self._grant if server == NAME else None

    def grants(self) -> tuple[Grant, ...]:
        return (self._grant,)

    def woken_at(self) -> None:
        return None

    def store_trouble(self) -> StoreTrouble | None:
        return None

    def damage(self, server: str) -> str | None:
        return None


class Process:
    """One process that writes ends down."""

    def __init__(self, bench: Bench) -> None:
        self.endings = Endings(bench.journal(), Facts(bench.stored), bench.clock)

    async def __aenter__(self) -> Endings:
        self._task = asyncio.create_task(self.endings.run())
        return self.endings

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


def refused(bench: Bench, *, generation: int = 1, told_generation: int = 0) -> Grant:
    failure = a_failure(FailureKind.REFUSED, "invalid_grant", code="invalid_grant")
    now = bench.clock.now()
    return bench.store(
        refusals=Refusals(2, now, now, failure),
        generation=generation,
        told_generation=told_generation,
    )


def ends(bench: Bench) -> list[LedgerLine]:
    return [line for line in bench.world.ledger.get(NAME, ()) if line.outcome is Outcome.ENDED]


@virtually
async def test_an_end_joins_the_ledger_with_its_verdict_and_evidence() -> None:
    async with Bench() as bench:
        grant = refused(bench)
        async with Process(bench) as endings:
            endings.hear(LOST)
            await until(lambda: ends(bench))
        (line,) = ends(bench)
        assert (line.code, line.detail) == ("provider_ended", "invalid_grant")
        assert (line.generation, line.login_id) == (grant.generation, grant.login_id)
        assert bench.notices.of(LedgerWritten) == [LedgerWritten(NAME, line)]
        assert bench.stored == replace(grant, told_generation=1, revision=grant.revision + 1)


@virtually
async def test_processes_that_notice_it_at_once_write_it_once() -> None:
    async with Bench() as bench:
        refused(bench)
        async with Process(bench) as one, Process(bench) as two, Process(bench) as three:
            for endings in (one, two, three, one):
                endings.hear(LOST)
            await until(lambda: ends(bench))
            await asyncio.sleep(60)
        assert len(ends(bench)) == 1
        assert len(bench.notices.of(LedgerWritten)) == 1


@virtually
async def test_a_process_that_starts_later_hears_of_it_and_does_not_write_it_again() -> None:
    async with Bench() as bench:
        refused(bench)
        for _ in range(3):
            async with Process(bench) as endings:
                endings.hear(LOST)
                await asyncio.sleep(30)
        assert len(ends(bench)) == 1


@virtually
async def test_a_grant_that_revived_and_ended_again_counts_again() -> None:
    async with Bench() as bench:
        refused(bench)
        async with Process(bench) as endings:
            endings.hear(LOST)
            await until(lambda: len(ends(bench)) == 1)
        revived = refused(bench, generation=2, told_generation=1)
        async with Process(bench) as endings:
            endings.hear(LOST)
            await until(lambda: len(ends(bench)) == 2)
        assert bench.stored.told_generation == revived.generation


@virtually
async def test_what_revived_before_it_was_written_is_no_end() -> None:
    async with Bench() as bench:
        refused(bench)
        async with Process(bench) as endings:
            bench.store(generation=2)
            endings.hear(LOST)
            endings.hear(LoggedOut(NAME))
            await asyncio.sleep(60)
        assert ends(bench) == []


@virtually
async def test_a_store_that_takes_no_writes_is_told_when_it_does() -> None:
    async with Bench() as bench:
        refused(bench)
        bench.disk.is_full = True
        async with Process(bench) as endings:
            endings.hear(LOST)
            await asyncio.sleep(timedelta(hours=1).total_seconds())
            assert ends(bench) == []
            bench.disk.is_full = False
            await until(lambda: ends(bench))
        assert len(ends(bench)) == 1
