"""A planted bug is found, and the very same world finds nothing in the product as it is."""

import pytest

from tests.simulation.engines import memory_engine
from tests.simulation.loop import Stuck, run_virtually
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.run import Outcome, Setting, simulate
from tests.simulation.settings import SETTINGS

SEEDS = range(1, 6)
REFRESHES = 300


def run(seed: int, setting: Setting) -> Outcome:
    return run_virtually(simulate(seed, memory_engine(), refreshes=REFRESHES, setting=setting))


def is_found(mutant: Mutant, seed: int) -> bool:
    with mutant.plant():
        try:
            return bool(run(seed, mutant.setting).violations)
        except Stuck:
            return True


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found_within_a_few_seeds(mutant: Mutant) -> None:
    assert any(is_found(mutant, seed) for seed in SEEDS), f"{mutant.name}: not found"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_the_same_world_finds_nothing_without_a_bug(setting: Setting, seed: int) -> None:
    outcome = run(seed, setting)
    assert not outcome.violations, str(outcome)
    assert outcome.refreshes >= REFRESHES


def test_every_setting_that_finds_a_bug_has_its_control() -> None:
    assert {id(mutant.setting) for mutant in MUTANTS} <= {id(s) for s in SETTINGS.values()}
