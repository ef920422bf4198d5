"""More than 50,000 refreshes with a fault in every twenty at least, and no login lost by us.

Law: the seeds are fixed, so that a run that fails fails for everybody; `make sim` tries new ones,
and one that finds something joins these.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.proof import record
from tests.simulation.clone import clone
from tests.simulation.engines import Engine, MemoryEngine, SqliteEngine
from tests.simulation.faults import HOURS, Fault
from tests.simulation.loop import run_virtually
from tests.simulation.run import Outcome, Setting, simulate
from tests.simulation.settings import BUSY, HOSTS, ON_DISK, YEARS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MEMORY_SEEDS = range(1, 10)
MEMORY_REFRESHES = 4_200
YEARS_SEEDS = range(1, 3)
YEARS_REFRESHES = 3_000
HOSTS_SEEDS = range(1, 3)
HOSTS_REFRESHES = 2_000
SQLITE_SEEDS = range(1, 4)
SQLITE_REFRESHES = 1_000

WANTED_REFRESHES = 50_000
WANTED_FAULTS = 1 / 20

REPEATED = 200
"""Refreshes in a run that is only there to be repeated."""

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is such: what a disk costs in fsyncs proves nothing."""
    if not os.access(SHARED_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY, prefix="mcpproxy-sim-") as directory:
        yield Path(directory)


def assert_kept_its_promise(world: str, outcome: Outcome, refreshes: int) -> None:
    """Nothing was found, in enough refreshes and with enough faults: callers who go away and
    stale reads that nobody notices do not count.
    """
    counted = {f: n for f, n in outcome.faults.items() if f not in (Fault.CALLER_GONE,)}
    share = 20 * sum(counted.values()) / outcome.refreshes
    record(
        f"simulation-{world}-{outcome.seed}",
        goal=f"seed {outcome.seed} of the world {world!r} loses no login and tells no lie",
        held=f"{outcome.refreshes} refreshes, {sum(counted.values())} faults",
        figures={
            "refreshes": outcome.refreshes,
            "token-years": round(outcome.token_years, 2),
            "lost by us, or told falsely": len(outcome.violations),
            "lost on the way at providers that forgive nothing": outcome.in_transit,
            "faults for 20 refreshes": round(share, 2),
            **{f"fault: {fault.name}": count for fault, count in outcome.faults.items() if count},
        },
    )
    assert not outcome.violations, str(outcome)
    assert outcome.refreshes >= refreshes
    assert share >= 20 * WANTED_FAULTS


def run(seed: int, engine: Engine, refreshes: int, setting: Setting | None = None) -> Outcome:
    return run_virtually(simulate(seed, engine, refreshes=refreshes, setting=setting))


def test_the_runs_together_are_large_enough() -> None:
    sqlite = len(SQLITE_SEEDS) * SQLITE_REFRESHES
    memory = len(MEMORY_SEEDS) * MEMORY_REFRESHES + len(YEARS_SEEDS) * YEARS_REFRESHES
    assert memory + len(HOSTS_SEEDS) * HOSTS_REFRESHES + sqlite >= WANTED_REFRESHES
    assert sqlite >= 3_000


@pytest.mark.parametrize("seed", MEMORY_SEEDS)
def test_no_login_is_lost_by_us(seed: int) -> None:
    outcome = run(seed, MemoryEngine(), MEMORY_REFRESHES)
    assert_kept_its_promise("days", outcome, MEMORY_REFRESHES)


@pytest.mark.parametrize("seed", YEARS_SEEDS)
def test_no_login_of_any_life_is_lost_by_us_in_months(seed: int) -> None:
    outcome = run(seed, MemoryEngine(), YEARS_REFRESHES, YEARS)
    assert_kept_its_promise("years", outcome, YEARS_REFRESHES)
    assert outcome.token_years > 10


@pytest.mark.parametrize("seed", HOSTS_SEEDS)
def test_no_login_is_lost_by_several_machines(seed: int) -> None:
    outcome = run(seed, MemoryEngine(), HOSTS_REFRESHES, HOSTS)
    assert_kept_its_promise("hosts", outcome, HOSTS_REFRESHES)


@pytest.mark.parametrize("seed", SQLITE_SEEDS)
def test_no_login_is_lost_by_us_on_sqlite(seed: int, data_dir: Path) -> None:
    outcome = run(seed, SqliteEngine(data_dir), SQLITE_REFRESHES, ON_DISK)
    assert_kept_its_promise("sqlite", outcome, SQLITE_REFRESHES)


def test_every_fault_there_is_comes() -> None:
    hours = {fault: min(gap, 4.0) for fault, gap in HOURS.items()}
    rates = replace(BUSY.rates, wire=0.3, hours=hours, store=0.005, paused=0.001)
    outcome = run(1, MemoryEngine(), 1_000, replace(BUSY, rates=rates))
    never = [fault.name for fault, count in outcome.faults.items() if not count]
    assert not outcome.violations, str(outcome)
    assert not never, f"never met {never}"


def test_a_strict_provider_does_lose_what_the_wire_loses() -> None:
    """The control: where nothing could be lost, keeping everything would prove nothing."""
    assert run(1, MemoryEngine(), 1_000).in_transit > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_copied_data_directory_is_told_the_truth(seed: int) -> None:
    """Whoever comes second at a provider that takes a token once ends the login for both: then
    each says that the provider ended it. What the provider forgives, both keep.
    """
    cloned = run_virtually(clone(seed, Setting(logins=8, lives=(300.0, 3600.0))))
    assert not cloned.violations, cloned.violations
    assert cloned.ended > 0
    assert cloned.alive > 0


# --- the same seed, the same trace ------------------------------------------------------------


def in_a_fresh_interpreter(engine: str, seed: int) -> str:
    """The trace's hash as another process with another hash seed finds it."""
    command = [sys.executable, "-m", "tests.simulation", "--hash-only", "--engine", engine]
    command += ["--seed", str(seed), "--refreshes", str(REPEATED)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_same_seed_leaves_the_same_trace_in_memory() -> None:
    """Seed 6 is of the world of days."""
    first, second = (run(6, MemoryEngine(), REPEATED) for _ in range(2))
    assert first == second
    assert in_a_fresh_interpreter("memory", 6) == first.trace_hash


def test_the_same_seed_leaves_the_same_trace_on_sqlite(data_dir: Path) -> None:
    first, second = (
        run(6, SqliteEngine(data_dir / name), REPEATED, ON_DISK) for name in ("first", "second")
    )
    assert first == second
    assert in_a_fresh_interpreter("sqlite", 6) == first.trace_hash


def test_another_seed_leaves_another_trace() -> None:
    first, second = (run(seed, MemoryEngine(), 50) for seed in (1, 2))
    assert first.trace_hash != second.trace_hash
