"""One run of the simulator: a seed, some logins, some virtual days, a verdict."""

import asyncio
import math
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.simulation.faults import Fault, FaultRates
from tests.simulation.provider import Expiry, Login, Rotation
from tests.simulation.world import Engine, World, server_url

SHORTEST, LONGEST = 300.0, 86_400.0

SETTLE: Final = 3 * 3600.0
SECONDS_PER_YEAR: Final = 365.25 * 86_400.0

EXPIRIES: Final = (*[Expiry.NUMBER] * 5, Expiry.STRING, Expiry.FLOAT, Expiry.MISSING)


@dataclass(frozen=True, slots=True)
class Setting:
    """What kind of world: how many logins and processes, how often somebody calls (seconds
    between two calls), which troubles.
    """

    logins: int = 20
    processes: int = 2
    calls: tuple[float, float] = (10.0, 200.0)
    rotations: tuple[Rotation, ...] = tuple(Rotation)
    lives: tuple[float, float] = (SHORTEST, LONGEST)
    expiries: tuple[Expiry, ...] = EXPIRIES
    rates: FaultRates = field(default_factory=FaultRates)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run showed."""

    seed: int
    refreshes: int
    token_years: float
    faults: dict[Fault, int]
    violations: tuple[str, ...]
    in_transit: int
    trace_hash: str

    def __str__(self) -> str:
        told = "".join(f"\n  {violation}" for violation in self.violations)
        return f"seed {self.seed}, {self.refreshes} refreshes, trace {self.trace_hash[:12]}{told}"


def some_logins(random: Random, setting: Setting) -> list[Login]:
    """Lives over the scale of their logarithm, the short ones more often."""
    low, high = map(math.log, setting.lives)
    return [
        Login(
            server=f"server-{n}",
            rotation=random.choice(setting.rotations),
            life=round(math.exp(low + (high - low) * random.random() ** 2)),
            expiry=random.choice(setting.expiries),
        )
        for n in range(setting.logins)
    ]


async def simulate(
    seed: int, engine: Engine, *, refreshes: int, setting: Setting | None = None
) -> Outcome:
    """Run until the provider has made `refreshes` refreshes, or something went wrong; then let
    the world be kind for three hours, and judge.
    """
    setting = setting or Setting()
    world, random = World(seed, engine, setting.rates), Random(seed)
    await world.begin(some_logins(random, setting), setting.processes)
    servers = [family.server for family in world.provider.families()]
    in_transit = 0
    while world.provider.refreshes < refreshes and not world.checks.violations:
        await asyncio.sleep(random.uniform(*setting.calls))
        world.call(random.choice(servers))
        for fault in world.faults.due(world.now()):
            world.befall(fault)
        in_transit += await world.log_in_again()
    if not world.checks.violations:
        await _settle(world)
    await world.end()
    return Outcome(
        seed=seed,
        refreshes=world.provider.refreshes,
        token_years=world.now() * setting.logins / SECONDS_PER_YEAR,
        faults=world.faults.counts,
        violations=tuple(world.checks.violations),
        in_transit=in_transit,
        trace_hash=world.trace_hash(),
    )


async def _settle(world: World) -> None:
    """No faults any more; then every login that lives must work, in every process."""
    world.faults.cease()
    await asyncio.sleep(SETTLE)
    if not world.processes:
        world.checks.fail("*", "no process came back")
    await world.checks.judge()
    for process in world.processes:
        for family in world.provider.families():
            if family.ended is None:
                await process.run(world.use(process, family.server))
                token = await process.manager.token(family.server, server_url(family.server))
                if token is None or not world.works(family.server, token):
                    world.checks.fail(family.server, f"{process.name} cannot use it")
