"""The table of the suites that a run leaves in test-results/conformance.md, and its figures.

Every row is a file of its own below test-results/conformance, so that parts of the judges can be
run alone; the page shows the rows that are there.
"""

import json
import re
from typing import Final

from tests.conformance.suites import Score, Suite, failed, passed
from tests.peers.process import ROOT
from tests.proof import record

RESULTS: Final = ROOT / "test-results"
ROWS: Final = RESULTS / "conformance"
PAGE: Final = RESULTS / "conformance.md"


def note(suite: Suite, behind: str, direct: Score, through: Score, differing: str) -> None:
    """A server suite against the fixture that stands so, without and with mcpproxy in between."""
    row = {
        "what": f"server suite {suite.name}, server {behind}",
        "without": f"{passed(direct)}/{failed(direct)}",
        "with": f"{passed(through)}/{failed(through)}",
        "differences": differing,
    }
    _write(row)
    record(
        _slug(row["what"]),
        goal=f"The {row['what']}: through mcpproxy every check comes out as without it",
        held=f"{len(differing.splitlines())} checks differ",
        figures={
            "passed without": passed(direct),
            "passed through": passed(through),
            "failed through": failed(through),
        },
    )


def note_client(suite: Suite, part: str, score: Score, reasons: dict[str, str]) -> None:
    """A client suite with mcpproxy as the client; `reasons` are of the checks it fails."""
    row = {
        "what": f"client suite {suite.name}, {part}",
        "without": "—",
        "with": f"{passed(score)}/{failed(score)}",
        "differences": "\n".join(f"- {check}: {reason}" for check, reason in reasons.items()),
    }
    _write(row)
    record(
        _slug(row["what"]),
        goal=f"The {row['what']} with mcpproxy as the client",
        held=f"{passed(score)} checks passed, {failed(score)} did not",
        figures={"passed": passed(score), "failed": failed(score)},
    )


def _slug(words: str) -> str:
    return "conformance-" + re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _write(row: dict[str, str]) -> None:
    ROWS.mkdir(parents=True, exist_ok=True)
    (ROWS / f"{_slug(row['what'])}.json").write_text(json.dumps(row, ensure_ascii=False))
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """All rows that were left, as Markdown."""
    rows = [json.loads(path.read_text()) for path in sorted(ROWS.glob("*.json"))]
    lines = [
        "# Conformance",
        "",
        "Checks passed/failed.",
        "",
        "| what | without mcpproxy | with mcpproxy |",
        "|---|---|---|",
        *(f"| {row['what']} | {row['without']} | {row['with']} |" for row in rows),
    ]
    for row in rows:
        if row["differences"]:
            lines += ["", f"## {row['what']}", "", row["differences"]]
    return "\n".join(lines) + "\n"
