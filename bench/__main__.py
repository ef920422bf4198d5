"""`make bench`: what a call through mcpproxy costs beside nginx and others, and what starting does.

    python -m bench [calls] [starts] [--rounds N] [--seconds S]

Timings of one machine at one moment mean little: trust the ratios, which are of the same rounds.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench.calls import measure
from bench.scene import scene
from bench.starts import starts
from bench.table import tell
from bench.targets import Wire

CONNECTIONS = (1, 16)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("what", nargs="*", default=["calls", "starts"])
    parser.add_argument("--rounds", type=int, default=9, help="that count; one more warms up")
    parser.add_argument("--seconds", type=float, default=0.4, help="of each target in a round")
    given = parser.parse_args()
    print(f"CPython {sys.version.split()[0]}; medians of {given.rounds} rounds, quartiles beside")
    with tempfile.TemporaryDirectory(prefix="mcpproxy-bench-") as directory:
        if "calls" in given.what:
            _calls(Path(directory) / "calls", given.rounds, given.seconds)
        if "starts" in given.what:
            starts(Path(directory) / "starts")


def _calls(directory: Path, rounds: int, seconds: float) -> None:
    directory.mkdir()
    began = time.monotonic()
    with scene(directory) as found:
        print(f"everything runs after {time.monotonic() - began:.0f} s")
        for wire in Wire:
            targets = found.targets(wire)
            for connections in CONNECTIONS:
                tell(
                    targets, measure(targets, wire, connections, rounds, seconds), wire, connections
                )
    print(f"\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
