"""More than 50,000 refreshes with a fault in every twenty at least, and no login lost by us.

Law: the seeds are fixed, so that a run that fails fails for everybody; `make sim` tries new ones,
and one that finds something joins these.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.engines import MemoryEngine, SqliteEngine
from tests.simulation.faults import Fault
from tests.simulation.loop import run_virtually
from tests.simulation.run import Outcome, simulate
from tests.simulation.settings import ON_DISK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MEMORY_SEEDS = range(1, 13)
MEMORY_REFRESHES = 4_000
SQLITE_SEEDS = range(1, 5)
SQLITE_REFRESHES = 800

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


def assert_kept_its_promise(outcome: Outcome, refreshes: int) -> None:
    assert not outcome.violations, str(outcome)
    assert outcome.refreshes >= refreshes
    assert sum(outcome.faults.values()) >= outcome.refreshes * WANTED_FAULTS
    callers_gone = outcome.faults[Fault.CALLER_GONE]
    assert sum(outcome.faults.values()) - callers_gone >= outcome.refreshes * WANTED_FAULTS


def test_the_runs_together_are_large_enough() -> None:
    memory = len(MEMORY_SEEDS) * MEMORY_REFRESHES
    sqlite = len(SQLITE_SEEDS) * SQLITE_REFRESHES
    assert memory + sqlite >= WANTED_REFRESHES
    assert sqlite >= 3_000


@pytest.mark.parametrize("seed", MEMORY_SEEDS)
def test_no_login_is_lost_by_us(seed: int) -> None:
    outcome = run_virtually(simulate(seed, MemoryEngine(), refreshes=MEMORY_REFRESHES))
    assert_kept_its_promise(outcome, MEMORY_REFRESHES)
    never = [fault.name for fault, count in outcome.faults.items() if not count]
    assert not never, f"seed {seed} never met {never}"


@pytest.mark.parametrize("seed", SQLITE_SEEDS)
def test_no_login_is_lost_by_us_on_sqlite(seed: int, data_dir: Path) -> None:
    outcome = run_virtually(
        simulate(seed, SqliteEngine(data_dir), refreshes=SQLITE_REFRESHES, setting=ON_DISK)
    )
    assert_kept_its_promise(outcome, SQLITE_REFRESHES)


def test_a_strict_provider_does_lose_what_the_wire_loses() -> None:
    """The control: where nothing could be lost, keeping everything would prove nothing."""
    outcome = run_virtually(simulate(1, MemoryEngine(), refreshes=1_000))
    assert outcome.in_transit > 0


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
    first, second = (
        run_virtually(simulate(7, MemoryEngine(), refreshes=REPEATED)) for _ in range(2)
    )
    assert first == second
    assert in_a_fresh_interpreter("memory", 7) == first.trace_hash


def test_the_same_seed_leaves_the_same_trace_on_sqlite(data_dir: Path) -> None:
    first, second = (
        run_virtually(
            simulate(7, SqliteEngine(data_dir / name), refreshes=REPEATED, setting=ON_DISK)
        )
        for name in ("first", "second")
    )
    assert first == second
    assert in_a_fresh_interpreter("sqlite", 7) == first.trace_hash


def test_another_seed_leaves_another_trace() -> None:
    first, second = (run_virtually(simulate(seed, MemoryEngine(), refreshes=50)) for seed in (1, 2))
    assert first.trace_hash != second.trace_hash
