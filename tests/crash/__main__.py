"""The long run: `python -m tests.crash --kills 10000 --seed N`; ends with 1 if a login was lost."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.series import failures, leave_for_the_report, tolls, total


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many in all (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the first daemon (default 1)")
    options = parser.parse_args(arguments)
    began, done = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="mcpproxy-crash-") as directory:
        for toll in tolls(Path(directory), options.kills, options.seed):
            done.append(toll)
            kills = sum(each.kills for each in done)
            print(f"{time.monotonic() - began:7.0f}s {kills:6} kills  {toll}", flush=True)
    toll = total(done)
    leave_for_the_report(toll)
    wrong = failures(toll, options.kills)
    print(f"\n{toll}", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
