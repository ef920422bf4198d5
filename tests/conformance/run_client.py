"""One client suite, or one scenario of it, with mcpproxy as the client.

python -m tests.conformance.run_client 2026-07-28 [SCENARIO]   prints what did not pass
python -m tests.conformance.run_client extensions              or another part, in all versions
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.conformance.adapter import PLACE
from tests.conformance.suites import (
    LEGACY,
    MODERN,
    NEWEST,
    NEWEST_LEGACY,
    NEWEST_MODERN,
    Score,
    Suite,
    judge_client,
)
from tests.conformance.through import proxy
from tests.e2e.daemon import API_KEY


def judged(
    suite: Suite, directory: Path, *, part: str = "all", scenario: str | None = None
) -> Score:
    """The score of a real daemon that is started for it."""
    with proxy(directory / "daemon") as daemon:
        place = {"origin": daemon.origin, "config": str(daemon.config_path), "key": API_KEY}
        os.environ[PLACE] = json.dumps(place)
        try:
            command = [sys.executable, "-m", "tests.conformance.adapter"]
            return judge_client(suite, command, directory / "out", part=part, scenario=scenario)
        finally:
            del os.environ[PLACE]


def main() -> None:
    what, *rest = sys.argv[1:]
    suite = {LEGACY: NEWEST_LEGACY, MODERN: NEWEST_MODERN}.get(what, NEWEST)
    part = "all" if suite.version else what
    directory = Path(tempfile.mkdtemp(prefix="judged-"))
    score = judged(suite, directory, part=part, scenario=rest[0] if rest else None)
    for key, verdict in sorted(score.items()):
        if verdict.status != "SUCCESS" or rest:
            print(f"{verdict.status} {key} {verdict.message}")
    print(f"{len(score)} checks, results in {directory}")


if __name__ == "__main__":
    main()
