"""The way to a provider is asked after only while it is lost, seldom, and told of once it is back.

In virtual time, with a probe that answers as the test's world is.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from mcpproxy.core.model import FailureKind, FailureRun, Grant, RefreshFailure, Refusals, Suspect
from mcpproxy.core.notices import Woke
from mcpproxy.network.reach import FIRST_PAUSE, LAST_PAUSE, MAX_AT_ONCE, ReachWatch
from tests.builders import ISSUER, NOW, a_failure, a_grant
from tests.custody.bench import HOUR, virtually
from tests.simulation.clock import SimClock

OTHER = "https://other.example.com"
UNREACHED = a_failure(FailureKind.NOT_SENT, "network unreachable")
PORTAL = replace(a_failure(FailureKind.TRANSIENT, "HTTP 302"), suspect=Suspect.PORTAL)
OUTAGE = a_failure(FailureKind.TRANSIENT, "HTTP 503")
UNANSWERED = a_failure(FailureKind.UNKNOWN, "timeout")


class World:
    """Some grants, the ways to their providers, and what the watch asked and told."""

    def __init__(self) -> None:
        self.clock = SimClock(asyncio.get_running_loop())
        self.grants: dict[str, Grant] = {}
        self.open: set[str] = set()
        self.asked: list[tuple[float, str]] = []
        self.told: list[tuple[float, str]] = []
        self.gate: asyncio.Event | None = None
        self.is_broken = False
        self.chance = 0.5
        self.watch = ReachWatch(
            lambda: self.grants.values(), self.probe, self.clock, self.back, lambda: self.chance
        )

    def fail(
        self,
        failure: RefreshFailure = UNREACHED,
        *,
        server: str = "github-mcp",
        issuer: str = ISSUER,
    ) -> None:
        run = FailureRun(1, NOW, self.clock.now(), failure)
        self.grants[server] = a_grant(server, issuer=issuer, failures=run)

    def succeed(self, server: str = "github-mcp") -> None:
        self.grants[server] = a_grant(server)

    async def probe(self, grant: Grant) -> bool:
        self.asked.append((self.now, grant.issuer))
        if self.gate is not None:
            await self.gate.wait()
        if self.is_broken:
            raise RuntimeError("a bug")
        return grant.issuer in self.open

    def back(self, issuer: str) -> None:
        self.told.append((self.now, issuer))

    @property
    def now(self) -> float:
        return self.clock.seconds()

    def asked_of(self, issuer: str = ISSUER) -> list[float]:
        return [at for at, who in self.asked if who == issuer]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    running = asyncio.create_task(made.watch.run())
    yield made
    running.cancel()
    await asyncio.wait([running])


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


@virtually
async def test_nobody_is_asked_while_nothing_fails() -> None:
    async with world() as made:
        made.succeed()
        await asyncio.sleep(2 * 3600)
        assert made.asked == []


@virtually
@pytest.mark.parametrize("failure", [OUTAGE, UNANSWERED], ids=["outage", "no answer"])
async def test_a_provider_that_was_reached_is_not_asked(failure: RefreshFailure) -> None:
    async with world() as made:
        made.fail(failure)
        await asyncio.sleep(3600)
        assert made.asked == []


@virtually
@pytest.mark.parametrize("failure", [UNREACHED, PORTAL], ids=["unreached", "portal"])
async def test_a_way_that_is_open_again_is_told_once_and_soon(failure: RefreshFailure) -> None:
    async with world() as made:
        made.fail(failure)
        await asyncio.sleep(30)
        assert made.told == []
        made.open.add(ISSUER)
        opened_at = made.now
        await asyncio.sleep(3600)
        assert [who for _, who in made.told] == [ISSUER]
        assert made.told[0][0] - opened_at <= 30 * 0.24 + 2


@virtually
async def test_a_way_found_open_at_the_first_look_was_closed_when_it_failed() -> None:
    async with world() as made:
        made.open.add(ISSUER)
        made.fail()
        await asyncio.sleep(10)
        assert [who for _, who in made.told] == [ISSUER]


@virtually
async def test_a_way_that_closes_and_opens_again_is_told_again() -> None:
    async with world() as made:
        made.fail()
        for _ in range(3):
            made.open.add(ISSUER)
            await asyncio.sleep(130)
            made.open.clear()
            await asyncio.sleep(130)
        assert len(made.told) == 3


@virtually
async def test_a_way_that_is_open_all_the_time_is_told_once_however_long_it_fails() -> None:
    """Else every look would be a retry, and the backoff no backoff."""
    async with world() as made:
        made.open.add(ISSUER)
        made.fail()
        for _ in range(600):
            await asyncio.sleep(10)
            made.fail()
        assert len(made.told) == 1


@virtually
async def test_a_provider_that_is_down_is_asked_ever_more_rarely_and_by_no_rhythm() -> None:
    async with world() as made:
        made.fail()
        await asyncio.sleep(4 * 3600)
        times = made.asked_of()
        assert times[0] >= FIRST_PAUSE.total_seconds()
        assert min(gaps(times)) >= FIRST_PAUSE.total_seconds()
        assert min(gaps(times)[20:]) >= LAST_PAUSE.total_seconds()
        assert len(times) <= 20 + 4 * 60
    async with world() as early, world() as late:
        early.chance, late.chance = 0.0, 1.0
        for each in (early, late):
            each.fail()
        await asyncio.sleep(3600)
        assert gaps(late.asked_of())[-1] >= 1.15 * gaps(early.asked_of())[-1]


@virtually
async def test_failing_again_and_again_shortly_asks_no_faster() -> None:
    async with world() as made:
        for beat in range(600):
            made.fail() if beat % 2 else made.succeed()
            await asyncio.sleep(1.5)
        assert min(gaps(made.asked_of()), default=99.0) >= FIRST_PAUSE.total_seconds()


@virtually
async def test_many_logins_at_one_provider_are_one_question() -> None:
    async with world() as made:
        for number in range(50):
            made.fail(server=f"s{number}")
        await asyncio.sleep(60)
        assert min(gaps(made.asked_of())) >= FIRST_PAUSE.total_seconds()


@virtually
async def test_each_provider_is_asked_for_itself() -> None:
    async with world() as made:
        made.fail()
        made.fail(server="jira", issuer=OTHER)
        made.open.add(OTHER)
        await asyncio.sleep(60)
        assert {who for _, who in made.told} == {OTHER}
        assert made.asked_of()


@virtually
async def test_one_question_at_a_time_and_the_next_after_its_answer() -> None:
    async with world() as made:
        made.gate = asyncio.Event()
        made.fail()
        await asyncio.sleep(3600)
        assert len(made.asked) == 1
        made.gate.set()
        await asyncio.sleep(1)
        assert len(made.asked) == 1


@virtually
async def test_a_thousand_providers_are_not_asked_at_once() -> None:
    async with world() as made:
        made.gate = asyncio.Event()
        for number in range(1000):
            made.fail(server=f"s{number}", issuer=f"https://p{number}.example")
        await asyncio.sleep(60)
        assert len(made.asked) == MAX_AT_ONCE
        made.gate.set()
        await asyncio.sleep(70)
        assert len({who for _, who in made.asked}) == 1000


@virtually
async def test_after_a_sleep_or_on_another_network_it_is_asked_often_again() -> None:
    async with world() as made:
        made.fail()
        await asyncio.sleep(3600)
        made.watch.hear(Woke("network", timedelta(0)))
        before = len(made.asked)
        await asyncio.sleep(30)
        assert len(made.asked) - before >= 4
        assert min(gaps(made.asked_of())) >= FIRST_PAUSE.total_seconds()


@virtually
async def test_a_night_of_sleep_is_not_made_up_for() -> None:
    async with world() as made:
        made.fail()
        await asyncio.sleep(60)
        before = len(made.asked)
        made.clock.sleep(8 * HOUR)
        made.watch.hear(Woke("suspend", 8 * HOUR))
        await asyncio.sleep(20)
        assert 2 <= len(made.asked) - before <= 4


@virtually
async def test_a_refused_login_is_not_asked_about() -> None:
    """The provider was reached: that is how it came to refuse."""
    async with world() as made:
        made.fail()
        grant = made.grants["github-mcp"]
        refusals = Refusals(1, NOW, NOW, a_failure(FailureKind.REFUSED, "no", code="invalid_grant"))
        made.grants["github-mcp"] = replace(grant, refusals=refusals)
        await asyncio.sleep(600)
        assert made.asked == []


@virtually
async def test_a_bug_in_the_question_ends_nothing_and_is_not_hammered_out() -> None:
    async with world() as made:
        made.is_broken = True
        made.fail()
        await asyncio.sleep(60)
        made.is_broken = False
        made.open.add(ISSUER)
        await asyncio.sleep(60)
        assert min(gaps(made.asked_of())) >= FIRST_PAUSE.total_seconds()
        assert [who for _, who in made.told] == [ISSUER]


@virtually
async def test_a_question_under_way_ends_with_the_watch() -> None:
    async with world() as made:
        made.gate = asyncio.Event()
        made.fail()
        await asyncio.sleep(10)
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("reach:")]
