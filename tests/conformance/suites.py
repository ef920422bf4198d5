"""The protocol's official suites as programs: run one, and read what it says of each check.

Law: what a suite measured is read from the files it leaves, never from its prose. INFO and SKIPPED
are no judgement and do not count.
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.peers.process import ROOT, node

NODE_DIR: Final = ROOT / "tests" / "conformance" / "node"
PACKAGES: Final = NODE_DIR / "node_modules" / "@modelcontextprotocol"
LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
SCENARIO_DEADLINE: Final = 300_000  # milliseconds; some seconds are enough on an idle machine
SUITE_DEADLINE: Final = 900.0  # seconds; a whole suite needs five, or two minutes as a client
JUDGED: Final = frozenset({"SUCCESS", "FAILURE", "WARNING"})


@dataclass(frozen=True, slots=True)
class Suite:
    """One release of the suites, for one version of the protocol; "" is each scenario's own."""

    release: str
    package: str
    version: str

    @property
    def name(self) -> str:
        return f"{self.release} for {self.version}" if self.version else self.release


NEWEST_LEGACY: Final = Suite("0.2.0-alpha.12", "conformance", LEGACY)
NEWEST_MODERN: Final = Suite("0.2.0-alpha.12", "conformance", MODERN)
NEWEST: Final = Suite("0.2.0-alpha.12", "conformance", "")
STABLE_LEGACY: Final = Suite("0.1.16", "conformance-0.1", LEGACY)
SUITES: Final = (STABLE_LEGACY, NEWEST_LEGACY, NEWEST_MODERN)
"""0.1.16 knows nothing of 2026-07-28."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which check: suites use an id several times in a scenario, `nth` counts them."""

    scenario: str
    check: str
    nth: int

    def __str__(self) -> str:
        return f"{self.scenario}: {self.check}" + (f" ({self.nth + 1})" if self.nth else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """SUCCESS, WARNING or FAILURE of a check, and what the suite says of it."""

    status: str
    message: str


Score = Mapping[Key, Verdict]


def passed(score: Score) -> int:
    return sum(verdict.status == "SUCCESS" for verdict in score.values())


def failed(score: Score) -> int:
    """Without warnings, which are about what a server SHOULD do; they are compared all the same."""
    return sum(verdict.status == "FAILURE" for verdict in score.values())


class SuiteError(Exception):
    """The suite itself did not run; the message has the end of its output."""


def judge_server(suite: Suite, url: str, out: Path, *, scenario: str | None = None) -> Score:
    """The server suite against `url`: all of it, or one scenario."""
    what = ["--scenario", scenario] if scenario else ["--suite", "all"]
    return _run(suite, ["server", "--url", url, *what], out)


def judge_client(
    suite: Suite,
    command: Sequence[str],
    out: Path,
    *,
    part: str = "all",
    scenario: str | None = None,
) -> Score:
    """The client suite (that part of it) with `command` as the client, to which the suite adds a
    URL.
    """
    what = ["--scenario", scenario] if scenario else ["--suite", part]
    return _run(suite, ["client", "--command", " ".join(command), *what], out)


def _run(suite: Suite, arguments: list[str], out: Path) -> Score:
    program = PACKAGES / suite.package / "dist" / "index.js"
    assert program.exists(), f"{program} is missing: run `make judges`"
    argv = [node(), str(program), *arguments, "-o", str(out)]
    if suite.version:
        argv += ["--spec-version", suite.version]
    if suite.release != STABLE_LEGACY.release or arguments[0] == "client":
        argv += ["--timeout", str(SCENARIO_DEADLINE)]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=SUITE_DEADLINE,
        cwd=ROOT,
        check=False,
    )
    (out.parent / f"{out.name}.log").write_text(done.stdout + done.stderr)
    score = read(out)
    if not score:
        raise SuiteError(f"{suite.name} left no result:\n{(done.stdout + done.stderr)[-3000:]}")
    return score


def read(out: Path) -> Score:
    """The verdicts below a directory in which a suite left its results."""
    score: dict[Key, Verdict] = {}
    for path in sorted(out.rglob("checks.json")):
        scenario = scenario_of(path.parent.relative_to(out).as_posix())
        seen: Counter[str] = Counter()
        for check in json.loads(path.read_text()):
            if check["status"] not in JUDGED:
                continue
            key = Key(scenario, check["id"], seen[check["id"]])
            seen[check["id"]] += 1
            score[key] = Verdict(check["status"], check.get("errorMessage") or "")
    return score


def scenario_of(directory: str) -> str:
    """The scenario's name in `server-NAME-2026-11-23T11-02-50-889Z`, also with a slash in NAME."""
    stamp = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")
    return re.sub(r"(^|/)(server|client)-", r"\1", stamp.sub("", directory), count=1)
