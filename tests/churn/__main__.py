"""The long churn: `python -m tests.churn --steps N`; ends with 1 if anything stayed behind."""

import argparse
import asyncio
import sys

from tests.churn.churn import churn
from tests.churn.test_churn import complaints


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.churn", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="after the warm-up")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    before, after, story = asyncio.run(churn(options.steps, options.seed))
    print(f"steps     {dict(story.done)}")
    print(f"statuses  {dict(story.statuses)}")
    print(f"answered  {story.answered}")
    print(f"before    {before}\nafter     {after}")
    found = complaints(before, after, options.steps)
    print("\n".join(found) or "nothing stayed behind")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
