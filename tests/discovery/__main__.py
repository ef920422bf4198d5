"""`python -m tests.discovery`: how well tools are found, and which questions are not answered.

With a folder of another set (see `published.py`) its figures only.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tests.discovery.evaluation import (
    HELD_OUT,
    TUNED,
    indexed,
    load_queries,
    load_servers,
    measure,
    token_figures,
)
from tests.discovery.published import published


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.discovery", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="a set that somebody else published")
    folder: Path | None = parser.parse_args().folder
    print(json.dumps(ours() if folder is None else published(folder), indent=2))


def ours() -> dict[str, object]:
    queries = load_queries()
    catalog, index = indexed(load_servers())
    halves = {
        half: asdict(measure(index, [query for query in queries if query.half == half]))
        for half in (TUNED, HELD_OUT)
    }
    return {
        "all": asdict(measure(index, queries)),
        **halves,
        "tokens": token_figures(catalog, index, queries),
    }


if __name__ == "__main__":
    main()
