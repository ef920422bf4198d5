"""A data directory that was copied: two machines keep the same logins, and neither knows.

Nobody can keep both: whoever comes second presents a token that is used up. What is judged is
that each side tells the truth of what it met, asks for no login that lives, and hammers nobody.
"""

import asyncio
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from tests.simulation.engines import MemoryEngine
from tests.simulation.faults import Fault
from tests.simulation.run import Setting, some_logins
from tests.simulation.world import World

BEFORE: Final = 2 * 3600.0
AFTER: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Cloned:
    """What became of it: logins that the provider ended, and those that both still use."""

    violations: tuple[str, ...]
    ended: int
    alive: int


async def clone(seed: int, setting: Setting) -> Cloned:
    """One machine keeps some logins; after two hours there are two of it, for six."""
    engine, random = MemoryEngine(), Random(seed)
    hours = {Fault.TOKEN_REVOKED: 3.0}
    rates = replace(setting.rates, wire=0.0, crash=0.0, paused=0.0, store=0.0, hours=hours)
    first = World(seed, engine, rates, setting.machines, name="first ")
    await first.begin(some_logins(random, setting), setting.processes)
    await _live(first, (first,), random, BEFORE)
    for family in first.provider.families():
        family.copied = True
    second = World(
        seed + 1, engine.clone(), rates, setting.machines, provider=first.provider, name="second "
    )
    await second.begin_as_copy(first, setting.processes)
    await _live(first, (first, second), random, AFTER)
    families = first.provider.families()
    for world in (first, second):
        world.faults.cease()
        await world.truth.judge()
        await world.end()
    return Cloned(
        violations=(*first.checks.violations, *second.checks.violations),
        ended=sum(family.ended is not None for family in families),
        alive=sum(family.ended is None for family in families),
    )


async def _live(clock: World, worlds: tuple[World, ...], random: Random, seconds: float) -> None:
    until = clock.now() + seconds
    while clock.now() < until and not any(world.checks.violations for world in worlds):
        await asyncio.sleep(random.uniform(10.0, 120.0))
        world = random.choice(worlds)
        world.call(random.choice(world.provider.families()).server)
        for fault in clock.faults.due(clock.now()):
            clock.trouble.befall(fault)
