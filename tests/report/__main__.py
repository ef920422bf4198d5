"""`python -m tests.report`: one page from what the tests and the long simulation left behind.

Ends with 1 when a figure was missed; one that nobody measured is shown as missing.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.proof import PROOFS
from tests.report.goals import GOALS, State, further, judge, load_proofs
from tests.report.page import page
from tests.simulation.progress import RESULTS, Progress

PAGE = PROOFS.parent / "reliability.html"


def load_runs(folder: Path) -> tuple[Progress, ...]:
    """The long runs of the simulation."""
    paths = sorted(folder.glob("*.json"))
    return tuple(Progress(**json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.report", description=__doc__)
    parser.add_argument("--proofs", type=Path, default=PROOFS)
    parser.add_argument("--runs", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    proofs, runs = load_proofs(options.proofs), load_runs(options.runs)
    verdicts, others = tuple(judge(goal, proofs) for goal in GOALS), further(proofs)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(verdicts, others, runs, datetime.now(UTC)), encoding="utf-8")
    unkept = [verdict for verdict in (*verdicts, *others) if verdict.state is not State.HELD]
    for verdict in unkept:
        print(f"{verdict.state}: {verdict.goal.promise}: {verdict.seen}")
    found = [run for run in runs if run.failed]
    for run in found:
        print(f"missed: the long run on {run.engine} found something: {', '.join(run.failed)}")
    held = len(verdicts) + len(others) - len(unkept)
    print(f"{held} figures held, {len(unkept)} not; the report is {options.page}")
    missed = any(verdict.state is State.MISSED for verdict in unkept)
    return 1 if missed or found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
