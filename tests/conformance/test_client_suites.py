"""The official client suites, with mcpproxy as the client: a real daemon, its own logins."""

from pathlib import Path

import pytest

from tests.conformance import table
from tests.conformance.known import CLIENT
from tests.conformance.run_client import judged
from tests.conformance.suites import NEWEST, NEWEST_LEGACY, NEWEST_MODERN, STABLE_LEGACY, Suite

pytestmark = pytest.mark.timeout(600)

LEAST = {
    ("all", "2025-11-25", "0.1.16"): 200,
    ("all", "2025-11-25", "0.2.0-alpha.12"): 250,
    ("all", "2026-07-28", "0.2.0-alpha.12"): 400,
    ("extensions", "", "0.2.0-alpha.12"): 75,
    ("backcompat", "", "0.2.0-alpha.12"): 20,
}
"""So many checks at least, with room below what is usual, as some suites judge each request that
they happen to see: a suite that judges hardly anything has judged nothing."""


@pytest.mark.parametrize(
    ("part", "suite"),
    [
        pytest.param("all", STABLE_LEGACY, id="0.1.16-2025-11-25"),
        pytest.param("all", NEWEST_LEGACY, id="2025-11-25"),
        pytest.param("all", NEWEST_MODERN, id="2026-07-28"),
        pytest.param("extensions", NEWEST, id="extensions"),
        pytest.param("backcompat", NEWEST, id="backcompat"),
    ],
)
def test_every_check_passes_or_is_known(part: str, suite: Suite, tmp_path: Path) -> None:
    score = judged(suite, tmp_path, part=part)
    known = CLIENT.get(part, {})
    bad = {str(key): seen for key, seen in sorted(score.items()) if seen.status != "SUCCESS"}
    table.note_client(suite, part, score, {check: known.get(check, "") for check in bad})
    unknown = [f"{check} {seen.message}" for check, seen in bad.items() if check not in known]
    assert not unknown, "\n".join(unknown)
    assert len(score) - len(bad) >= LEAST[part, suite.version, suite.release]
