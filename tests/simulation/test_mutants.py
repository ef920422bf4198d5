"""A planted bug is found, and the very same world finds nothing in the product as it is."""

from statistics import median

import pytest

from tests.proof import record
from tests.simulation.engines import MemoryEngine
from tests.simulation.loop import Stuck, run_virtually
from tests.simulation.mutants import MUTANTS
from tests.simulation.planting import Mutant
from tests.simulation.run import Outcome, Setting, simulate
from tests.simulation.settings import SETTINGS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEEDS = range(1, 1001)
REFRESHES = 200

CONTROLS = range(1, 3)
"""Seeds with which a world must find nothing; the bugs are found with these, all but a few."""


def run(seed: int, setting: Setting) -> Outcome:
    return run_virtually(simulate(seed, MemoryEngine(), refreshes=REFRESHES, setting=setting))


def is_found(mutant: Mutant, seed: int) -> bool:
    with mutant.plant():
        try:
            return bool(run(seed, mutant.setting).violations)
        except Stuck:
            return True


def found_by(mutant: Mutant) -> int | None:
    """The first seed that finds it."""
    return next((seed for seed in SEEDS if is_found(mutant, seed)), None)


def test_every_planted_bug_is_found() -> None:
    seeds = {mutant.name: found_by(mutant) for mutant in MUTANTS}
    found = sorted(seed for seed in seeds.values() if seed is not None)
    figures = {f"bug: {name}": seed or "not found" for name, seed in seeds.items()}
    record(
        "planted-bugs",
        goal="30 of 30 planted bugs are found, each within 1,000 seeds",
        held=f"{len(found)} of {len(seeds)} found, half of them by seed {median(found):g}, "
        f"the last by seed {max(found)}",
        figures={"planted": len(seeds), "found": len(found), "last_seed": max(found), **figures},
    )
    assert len(seeds) >= 30
    assert len(found) == len(seeds), [name for name, seed in seeds.items() if seed is None]


@pytest.mark.parametrize("seed", CONTROLS)
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_the_same_world_finds_nothing_without_a_bug(setting: Setting, seed: int) -> None:
    outcome = run(seed, setting)
    assert not outcome.violations, str(outcome)
    assert outcome.refreshes >= REFRESHES


def test_every_setting_that_finds_a_bug_has_its_control() -> None:
    assert {id(mutant.setting) for mutant in MUTANTS} <= {id(s) for s in SETTINGS.values()}
