"""One run of the simulator: a seed, some logins, some virtual time, a verdict."""

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeVar

from mcpproxy.core.errors import TokenUnavailable
from tests.simulation.answers import TELLS, Expiry, Shape
from tests.simulation.engines import Engine
from tests.simulation.faults import Fault, FaultRates
from tests.simulation.people import server_url
from tests.simulation.process import Process
from tests.simulation.provider import Clients, Earlier, Early, Form, Login, Rotation
from tests.simulation.words import Dialect
from tests.simulation.world import Machines, World

SHORTEST, LONGEST = 300.0, 4 * 3600.0
"""Longer lives are for worlds of months: here time without a refresh only costs time."""

PATIENCE: Final = 3
MINUTE: Final = 60.0
SETTLE: Final = 3 * 3600.0
SECONDS_PER_YEAR: Final = 365.25 * 86_400.0

_T = TypeVar("_T")

ISSUERS: Final = 4
"""Some logins have their provider in common: it is asked for them in turn."""

ODD: Final = 0.35
"""How many logins are at a provider with ways of its own."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What kind of world: how many logins and processes, how often somebody calls (seconds
    between two calls), which troubles.
    """

    logins: int = 12
    processes: int = 2
    machines: Machines = field(default_factory=Machines)
    calls: tuple[float, float] = (10.0, 200.0)
    rotations: tuple[Rotation, ...] = tuple(Rotation)
    lives: tuple[float, float] = (SHORTEST, LONGEST)
    bend: float = 5.0
    """1: lives even over the scale of their logarithm; more: the short ones more often, less: the
    long ones."""
    odd: float = ODD
    early: float = 0.0
    """How many logins are at a provider that refuses to refresh a living access token."""
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
    """Of every kind; what is odd about a provider is drawn for each trait alone."""
    low, high = map(math.log, setting.lives)
    told = (Expiry.NUMBER, Expiry.NUMBER, Expiry.STRING, Expiry.FLOAT)
    untold = tuple(expiry for expiry in Expiry if expiry not in TELLS)
    return [
        Login(
            server=f"server-{n}",
            rotation=random.choice(setting.rotations),
            life=round(math.exp(low + (high - low) * random.random() ** setting.bend)),
            expiry=random.choice(untold if random.random() < setting.odd / 3 else told),
            shape=_odd(random, setting, Shape.PLAIN, tuple(Shape)),
            dialect=_odd(random, setting, Dialect.STANDARD, tuple(Dialect)),
            form=_odd(random, setting, Form.AS_LOGIN, tuple(Form)),
            earlier=_odd(random, setting, Earlier.KEPT, tuple(Earlier)),
            clients=_odd(random, setting, Clients.BOUND, tuple(Clients)),
            early=_early(random, setting),
            issuer=f"https://auth-{n % ISSUERS}.example.com",
            resource=server_url(f"server-{n}"),
        )
        for n in range(setting.logins)
    ]


def _odd(random: Random, setting: Setting, usual: _T, others: tuple[_T, ...]) -> _T:
    return random.choice(others) if random.random() < setting.odd else usual


def _early(random: Random, setting: Setting) -> Early:
    """Nothing is drawn where there are none, so that other worlds stay as they were."""
    is_early = setting.early and random.random() < setting.early
    return Early.REFUSED if is_early else Early.GRANTED


async def simulate(
    seed: int, engine: Engine, *, refreshes: int, setting: Setting | None = None
) -> Outcome:
    """Run until the provider has made `refreshes` refreshes, or something went wrong; then let
    the world be kind for three hours, and judge.
    """
    setting = setting or Setting()
    world, random = World(seed, engine, setting.rates, setting.machines), Random(seed)
    await world.begin(some_logins(random, setting), setting.processes)
    servers = [family.server for family in world.provider.families()]
    in_transit = 0
    while world.provider.refreshes < refreshes and not world.checks.violations:
        await asyncio.sleep(random.uniform(*setting.calls))
        world.call(random.choice(servers))
        for fault in world.faults.due(world.now()):
            world.trouble.befall(fault)
        in_transit += await world.people.log_in_again()
    if not world.checks.violations:
        await settle(world)
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


async def settle(world: World) -> None:
    """No faults any more; then every login that lives must work, in every process."""
    world.faults.cease()
    await asyncio.sleep(SETTLE)
    if not world.processes:
        world.checks.fail("*", "no process came back")
    await world.checks.judge()
    await world.truth.judge()
    for process in world.processes:
        for family in world.provider.families():
            if not world.checks.is_over(family) and not family.copied:
                await _use_at_last(world, process, family.server)


async def _use_at_last(world: World, process: Process, server: str) -> None:
    """Who has not been called for hours may have to find an endpoint that moved."""
    for _ in range(PATIENCE):
        await process.run(world.use(process, server))
        with suppress(TokenUnavailable):
            token = await process.manager.token(server, server_url(server))
            if token is not None and world.works(server, token):
                return
        await asyncio.sleep(MINUTE)
    world.checks.fail(server, f"{process.name} cannot use it")
