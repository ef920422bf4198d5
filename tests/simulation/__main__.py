"""The long run: `python -m tests.simulation --seed N --years Y --engine memory|sqlite`.

Seeds N, N+1 … are run one after the other until their token-years (one login kept for one year)
are reached. Ends with 1 if anything was found; a seed that found something belongs in the suite.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.engines import Engine, MemoryEngine, SqliteEngine
from tests.simulation.faults import Fault
from tests.simulation.loop import run_virtually
from tests.simulation.run import Outcome, simulate
from tests.simulation.settings import ON_DISK

SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def an_engine(name: str) -> Iterator[Engine]:
    """The engine of that name on an empty vault."""
    if name == "memory":
        yield MemoryEngine()
        return
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where, prefix="mcpproxy-sim-") as directory:
        yield SqliteEngine(Path(directory))


def run_seed(engine: str, seed: int, refreshes: int) -> Outcome:
    setting = ON_DISK if engine == "sqlite" else None
    with an_engine(engine) as opened:
        return run_virtually(simulate(seed, opened, refreshes=refreshes, setting=setting))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--years", type=float, default=1.0, help="token-years (default 1)")
    parser.add_argument("--engine", choices=("memory", "sqlite"), default="memory")
    parser.add_argument("--refreshes", type=int, default=4000, help="refreshes a seed")
    parser.add_argument("--hash-only", action="store_true", help="one seed; print its trace's hash")
    options = parser.parse_args(arguments)
    if options.hash_only:
        print(run_seed(options.engine, options.seed, options.refreshes).trace_hash)
        return 0
    outcomes: list[Outcome] = []
    began = time.monotonic()
    while sum(outcome.token_years for outcome in outcomes) < options.years:
        seed = options.seed + len(outcomes)
        outcome = run_seed(options.engine, seed, options.refreshes)
        outcomes.append(outcome)
        years = sum(each.token_years for each in outcomes)
        print(f"{time.monotonic() - began:7.0f}s {years:8.2f} token-years  {outcome}", flush=True)
    return summarize(outcomes)


def summarize(outcomes: list[Outcome]) -> int:
    """Print what was seen; 1 if anything was found."""
    faults: Counter[Fault] = Counter()
    for outcome in outcomes:
        faults.update(outcome.faults)
    refreshes = sum(outcome.refreshes for outcome in outcomes)
    found = [outcome for outcome in outcomes if outcome.violations]
    print(f"\nrefreshes        {refreshes}")
    print(f"token-years      {sum(outcome.token_years for outcome in outcomes):.2f}")
    print(f"faults           {sum(faults.values())}")
    for fault, count in faults.most_common():
        print(f"  {count:6} {fault}")
    print(f"lost in transit  {sum(outcome.in_transit for outcome in outcomes)}")
    print(f"seeds that found something: {[outcome.seed for outcome in found] or 'none'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
