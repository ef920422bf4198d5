"""What a run of the matrix leaves: test-results/matrix.md, and its figures for the report.

Each client leaves a file of its own below test-results/matrix, so that parts can be run alone; the
page shows those that are there.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.matrix.cells import AGGREGATE, ENDS, RULES, SDKS, End, not_applicable
from tests.matrix.sides.features import FEATURES
from tests.matrix.world import Outcome
from tests.peers.process import ROOT
from tests.proof import record

RESULTS: Final = ROOT / "test-results"
ROWS: Final = RESULTS / "matrix"
PAGE: Final = RESULTS / "matrix.md"
Row = Mapping[str, Any]


def note(client: End, place: str, outcomes: Sequence[Outcome]) -> None:
    """What came of a client at a place ("server" or "aggregate")."""
    row = {
        "client": client.name,
        "place": place,
        "tried": Counter(each.server for each in outcomes),
        "failed": [(each.server, each.feature, each.why) for each in outcomes if each.why],
    }
    ROWS.mkdir(parents=True, exist_ok=True)
    (ROWS / f"{place}-{client.name}.json").write_text(json.dumps(row, ensure_ascii=False))
    rows = [json.loads(path.read_text()) for path in sorted(ROWS.glob("*.json"))]
    PAGE.write_text(page(rows), encoding="utf-8")
    _record(rows)


def _record(rows: Sequence[Row]) -> None:
    count = sum(sum(row["tried"].values()) for row in rows)
    failed = sum(len(row["failed"]) for row in rows)
    record(
        "matrix",
        goal="Every feature works between every client and server: both eras, all transports, "
        "the official Python and TypeScript SDKs of both generations",
        held=f"{count - failed} of {count} cells",
        figures={
            "clients": len({row["client"] for row in rows}),
            "servers": len({server for row in rows for server in row["tried"]}),
            "features": len(FEATURES),
            "cells that work": count - failed,
            "cells that fail": failed,
            "not applicable": sum(excluded().values()),
        },
    )


def excluded() -> Counter[str]:
    """How many cells there are not, by the reason; over the whole matrix."""
    features = [*FEATURES, *AGGREGATE]
    reasons = (
        not_applicable(client, server, feature)
        for client in ENDS
        for server in ENDS
        for feature in features
    )
    return Counter(reason for reason in reasons if reason)


def page(rows: Sequence[Row]) -> str:
    """All rows that were left, as Markdown."""
    lines = [
        "# The matrix",
        "",
        "Features that work, of those tried, with mcpproxy in between.",
        "",
    ]
    lines += [f"- `{sdk}`: {name}" for sdk, name in SDKS.items()]
    for place, title in (
        ("server", "Each server at its own endpoint, `/mcp/s/NAME`"),
        ("aggregate", "All servers at one endpoint, `/mcp/all`"),
    ):
        found = {row["client"]: row for row in rows if row["place"] == place}
        if found:
            lines += ["", f"## {title}", "", *_grid(found)]
    lines += ["", "## Not applicable", "", "| feature | reason | cells |", "|---|---|---:|"]
    counts = excluded()
    lines += [f"| {rule.feature} | {rule.reason} | {counts[rule.reason]} |" for rule in RULES]
    failures = [(row, each) for row in rows for each in row["failed"]]
    if failures:
        lines += ["", "## What does not work", ""]
    lines += [
        f"- {row['client']} ({row['place']}) and {server}: {feature}: {why.splitlines()[0]}"
        for row, (server, feature, why) in failures
    ]
    return "\n".join(lines) + "\n"


def _grid(found: Mapping[str, Row]) -> list[str]:
    servers = [end.name for end in ENDS if any(end.name in row["tried"] for row in found.values())]
    clients = [end.name for end in ENDS if end.name in found]
    lines = [
        f"| client ↓ server → | {' | '.join(servers)} |",
        "|---|" + "---:|" * len(servers),
    ]
    for client in clients:
        row = found[client]
        failed = Counter(server for server, _, _ in row["failed"])
        cells = (
            f"{row['tried'].get(server, 0) - failed[server]}/{row['tried'].get(server, 0)}"
            for server in servers
        )
        lines.append(f"| {client} | {' | '.join(cells)} |")
    return lines
