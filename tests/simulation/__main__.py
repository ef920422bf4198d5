"""The long run: `python -m tests.simulation --seed N --years Y --engine memory|sqlite`.

Seeds N, N+1 … are run on all cores until their token-years (one login kept for one year) are
reached. What was done is kept in test-results/sim, and the next run goes on from there. Ends with
1 if anything was found; a seed that found something belongs in the suite.
"""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from tests.simulation.progress import Progress, load
from tests.simulation.run import Outcome
from tests.simulation.seeds import WORLDS, run_seed


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--years", type=float, default=1.0, help="token-years (default 1)")
    parser.add_argument("--engine", choices=tuple(WORLDS), default="memory")
    parser.add_argument("--refreshes", type=int, default=4000, help="refreshes a seed")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--hash-only", action="store_true", help="one seed; print its trace's hash")
    options = parser.parse_args(arguments)
    if options.hash_only:
        print(run_seed(options.engine, options.seed, options.refreshes).trace_hash)
        return 0
    progress = load(options.engine, options.seed)
    if progress.done:
        print(f"{len(progress.done)} seeds were run before, {progress.token_years:.2f} token-years")
    until = time.monotonic() + options.minutes * 60
    run_all(progress, options.years, options.refreshes, options.cores, until)
    return summarize(progress)


def run_all(progress: Progress, years: float, refreshes: int, cores: int, until: float) -> None:
    """Seeds on all cores until the years are reached or the time is up; each is kept at once."""
    waiting, began = progress.next_seeds(), time.monotonic()
    context = multiprocessing.get_context("spawn")
    running: set[Future[Outcome]] = set()
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        while True:
            wanted = progress.token_years < years and time.monotonic() < until
            while wanted and len(running) < cores:
                seed = waiting.pop(0)
                waiting = waiting or [seed + 1]
                running.add(pool.submit(run_seed, progress.engine, seed, refreshes))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for outcome in (future.result() for future in done):
                progress.add(outcome)
                progress.save()
                spent, reached = time.monotonic() - began, progress.token_years
                print(f"{spent:7.0f}s {reached:9.2f} token-years  {outcome}", flush=True)


def summarize(progress: Progress) -> int:
    """Print what was seen; 1 if anything was found."""
    print(f"\nseeds            {len(progress.done)}, from {progress.first_seed}")
    print(f"refreshes        {progress.refreshes}")
    print(f"token-years      {progress.token_years:.2f}")
    print(f"faults           {sum(progress.faults.values())}")
    for fault, count in sorted(progress.faults.items(), key=lambda pair: -pair[1]):
        print(f"  {count:7} {fault.lower().replace('_', ' ')}")
    print(f"lost in transit  {progress.in_transit}")
    print(f"kept in          {progress.path}")
    print(f"seeds that found something: {', '.join(progress.failed) or 'none'}")
    return 1 if progress.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
