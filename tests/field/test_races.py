"""Several who would refresh at once: one of them does, the others take what it brought."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.model import Grant
from mcpproxy.core.ports import Lease, LeaseHold
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.storage.memory import MemoryStore
from tests.custody.bench import HOUR, NAME, until, virtually
from tests.field.provider import after, error, honest, revoking_the_old_access_token
from tests.field.scene import DAY, MINUTE, SECOND, Scene

PROCESSES = 7


@virtually
async def test_fifty_calls_that_meet_a_dead_token_make_one_refresh() -> None:
    async with Scene() as scene:
        scene.log_in()
        await scene.pass_time(2 * HOUR)
        await scene.start()
        await asyncio.gather(*(scene.call() for _ in range(50)))
        assert scene.calls.served == 50
        scene.require_good(presented=1)


@virtually
async def test_seven_processes_that_wake_from_two_days_of_sleep_make_one_refresh() -> None:
    """One after another, 3 ms apart, is how they come in the reports."""
    async with Scene(tick=SECOND) as scene:
        scene.log_in()
        names = [f"p{number}" for number in range(PROCESSES)]
        for name in names:
            await scene.start(name)
        await scene.pass_time(MINUTE)
        scene.clock.sleep(2 * DAY)
        for name in names:
            await asyncio.sleep(0.003)
            scene.processes[name].network_changed()
        await asyncio.gather(*(scene.call(process=name) for name in names))
        assert scene.calls.served == PROCESSES
        scene.require_good(presented=1)


@virtually
async def test_seven_processes_share_a_strict_login_for_hours() -> None:
    """27 hours of 'needs auth' is what this cost elsewhere."""
    async with Scene() as scene:
        scene.log_in(life=5 * MINUTE)
        for number in range(PROCESSES):
            await scene.start(f"p{number}")
            scene.call_every(7 * MINUTE, process=f"p{number}")
        await scene.pass_time(3 * HOUR)
        scene.require_good()
        tokens = [visit.token for visit in scene.provider.visits]
        assert len(tokens) == len(set(tokens)) == scene.grant().refresh_count
        assert scene.calls.served == scene.calls.total


class Replica(MemoryStore):
    """A replica that answers with what was true half a minute ago."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.world)
        self._scene = scene
        self._history: list[tuple[float, Grant]] = []

    def remember(self) -> None:
        grant = self.world.grants[NAME]
        if not self._history or self._history[-1][1] is not grant:
            self._history.append((self._scene.provider.now(), grant))

    async def load_grant(self, server: str) -> Grant | None:
        self.remember()
        then = self._scene.provider.now() - 30
        return next((g for at, g in reversed(self._history) if at <= then), self._history[0][1])

    async def load_grants(self) -> Sequence[Grant]:
        grant = await self.load_grant(NAME)
        return [grant] if grant else []


@virtually
async def test_a_replica_that_reads_what_is_no_longer_true_sends_nothing() -> None:
    async with Scene() as scene:
        scene.log_in(life=5 * MINUTE)
        replica = Replica(scene)
        scene.disk.before_save = lambda grant: replica.remember()
        await scene.start("p1")

        def lagging(name: str = "p2") -> RefreshTools:
            journal = Journal(replica, scene.clock, scene.notices)
            return replace(Scene.tools(scene, name), journal=journal)

        scene.tools = lagging  # type: ignore[method-assign]
        await scene.start("p2")
        scene.call_every(MINUTE, process="p1")
        scene.call_every(MINUTE, process="p2")
        await scene.pass_time(2 * HOUR)
        tokens = [visit.token for visit in scene.provider.visits]
        assert len(tokens) == len(set(tokens))
        assert scene.truth().ended is None
        assert scene.calls.rejected == 0


@virtually
async def test_the_losers_refusal_does_not_touch_what_the_winner_brought() -> None:
    """p1 is taken for dead while it lives; p2 rotates; p1's refusal comes last."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.script += [after(19, error("invalid_grant")), honest]
        await scene.start("p1")
        await until(lambda: scene.presented() == 1, within=3600)
        scene.dead.add("p1")
        await scene.start("p2")
        await scene.pass_time(HOUR / 2)
        assert scene.stored.generation == 2
        assert scene.stored.refusals is None
        scene.require_good(presented=2)


@virtually
async def test_a_provider_that_takes_19_s_to_answer_is_asked_once_by_all() -> None:
    """The lease outlives the longest attempt, so nobody takes over one that is under way."""
    async with Scene() as scene:
        scene.log_in(life=5 * MINUTE)
        scene.provider.manner = after(19)
        for number in range(PROCESSES):
            await scene.start(f"p{number}")
        await scene.pass_time(2 * HOUR)
        tokens = [visit.token for visit in scene.provider.visits]
        assert len(tokens) == len(set(tokens))
        scene.require_good()


class NoLease:
    """A lock service that is down."""

    def __init__(self, scene: Scene, lease: Lease, until: float) -> None:
        self._scene = scene
        self._lease = lease
        self._until = until

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        if self._scene.provider.now() < self._until:
            raise StoreUnavailable("the lock service is down")
        return await self._lease.acquire(name, ttl)

    async def release(self, hold: LeaseHold) -> None:
        await self._lease.release(hold)


@virtually
async def test_without_leases_nobody_refreshes_and_what_lives_is_served() -> None:
    async with Scene() as scene:
        scene.log_in()
        down_until = (1.5 * HOUR).total_seconds()

        def without_lease(name: str = "p1") -> RefreshTools:
            tools = Scene.tools(scene, name)
            return replace(tools, lease=NoLease(scene, tools.lease, down_until))

        scene.tools = without_lease  # type: ignore[method-assign]
        for number in range(3):
            await scene.start(f"p{number}")
        await scene.pass_time(0.95 * HOUR)
        assert await scene.call(process="p0")
        await scene.pass_time(0.5 * HOUR)
        assert scene.presented() == 0
        assert "store_unwritable" in scene.causes() or "refreshing" in scene.causes()
        await scene.pass_time(0.5 * HOUR)
        assert await scene.call(process="p0")
        scene.require_good(presented=1)


@virtually
async def test_a_401_because_a_sibling_rotated_is_answered_from_the_store() -> None:
    """The provider revokes the old access token at once; the clock says that it lives."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.manner = revoking_the_old_access_token
        first = await scene.start("p1")
        await scene.start("p2", tick=HOUR)  # it sleeps while the other is asked to refresh
        await scene.pass_time(20 * MINUTE)
        await first.refresh_now(NAME)
        before = scene.processes["p2"].grant(NAME)
        assert before is not None
        assert before.generation == 1
        assert await scene.call(process="p2")
        assert scene.calls.replayed == 1
        assert await scene.call(process="p1")
        scene.require_good(presented=1)


@virtually
async def test_two_logins_that_are_refreshed_at_once_keep_each_its_own() -> None:
    async with Scene() as scene:
        for server in ("one", "two", "three"):
            scene.log_in(server, life=5 * MINUTE)
        await scene.start("p1")
        await scene.start("p2")
        await scene.pass_time(3 * HOUR)
        for server in ("one", "two", "three"):
            assert await scene.call(server)
            scene.require_good(server)
            mine = {visit.token for visit in scene.provider.visits_of(server)}
            assert all(token.startswith(f"rt-{server}-") for token in mine)
