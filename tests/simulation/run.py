"""One run of the simulator: a seed, some logins, some virtual days, a verdict."""

import asyncio
import math
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from tests.simulation.faults import Fault, FaultRates
from tests.simulation.provider import Rotation
from tests.simulation.world import Engine, Login, World

SHORTEST, LONGEST = 300.0, 86_400.0
SETTLE = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run showed."""

    seed: int
    refreshes: int
    faults: dict[Fault, int]
    violations: tuple[str, ...]
    trace_hash: str
    in_transit: int


def some_logins(random: Random, count: int) -> list[Login]:
    """Lives from 5 minutes to a day, evenly over the scale of their logarithm."""
    return [
        Login(
            server=f"server-{n}",
            rotation=random.choice(list(Rotation)),
            life=round(math.exp(random.uniform(math.log(SHORTEST), math.log(LONGEST)))),
        )
        for n in range(count)
    ]


async def simulate(
    seed: int,
    engine: Engine,
    *,
    refreshes: int,
    logins: int = 20,
    rates: FaultRates | None = None,
) -> Verdict:
    """Run until the provider has made `refreshes` refreshes; then let the world be kind for
    three hours and judge.
    """
    world = World(seed, engine, rates=rates)
    random = Random(seed)
    await world.begin(some_logins(random, logins))
    servers = [family.server for family in world.provider.families()]
    next_sleep = random.uniform(6, 48) * 3600
    next_outage = random.uniform(2, 24) * 3600
    while world.provider.refreshes < refreshes and not world.checks.violations:
        await asyncio.sleep(random.uniform(20, 400))
        await world.call(random.choice(servers))
        if world.now() > next_outage:
            length = random.choice((60.0, 900.0, 7200.0))
            world.outages[:] = [(world.now(), world.now() + length)]
            next_outage = world.now() + length + random.uniform(2, 24) * 3600
            world.trace("world", "OUTAGE", detail=length)
        if world.now() > next_sleep:
            suspend(world, random.uniform(0.2, 9) * 3600)
            next_sleep = world.now() + random.uniform(6, 48) * 3600
        await log_in_again(world)
    await settle(world)
    return Verdict(
        seed=seed,
        refreshes=world.provider.refreshes,
        faults=world.faults.counts,
        violations=tuple(world.checks.violations),
        trace_hash=world.trace_hash(),
        in_transit=world.in_transit,
    )


async def log_in_again(world: World) -> None:
    """People whose login a strict provider and a lost answer ended log in again."""
    if not world.processes:
        return
    process = world.processes[0]
    for family in list(world.provider.families()):
        if family.ended is None:
            continue
        world.in_transit += 1
        await world.log_in(process, Login(family.server, family.rotation, family.life))


def suspend(world: World, seconds: float) -> None:
    """The lid is closed: time goes on, nothing of ours does."""
    world.trace("world", "SUSPEND", detail=seconds)
    loop = asyncio.get_running_loop()
    loop.advance(seconds)  # type: ignore[attr-defined]
    world.clock.slept += timedelta(seconds=seconds)


async def settle(world: World) -> None:
    """No faults any more; then every login that lives must work."""
    world.faults._rates = FaultRates(wire=0, crash=0, stale=0, full=0, caller_gone=0)
    await asyncio.sleep(SETTLE)
    if world.processes:
        await world.checks.judge_quiet(world.processes[0])
    else:
        world.checks.fail("*", "no process came back")
    for process in list(world.processes):
        await process.manager.stop()
