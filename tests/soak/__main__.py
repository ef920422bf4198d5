"""The long soak: `python -m tests.soak --refreshes N`; ends with 1 if anything grew."""

import argparse
import sys

from tests.soak.test_soak import WARM_UP, complaints, soak_on_memory_disk


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--refreshes", type=int, default=100_000, help="after the warm-up")
    refreshes = parser.parse_args(arguments).refreshes
    before, after, provider = soak_on_memory_disk(warm_up=WARM_UP, refreshes=refreshes)
    print(f"before  {before}\nafter   {after}\nlost    {provider.refused}")
    found = complaints(before, after, refreshes)
    print("\n".join(found) or "nothing grew")
    return 1 if found or provider.refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
