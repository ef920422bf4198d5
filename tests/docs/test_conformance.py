"""The table of the quickstart is whole, and each test that it names exists."""

from pathlib import Path
from typing import Final

from mcpproxy.observability import refresh_log
from tests.docs.markdown import DOCS, ROOT, rows
from tests.docs.named_tests import NAMED, missing

PAGE: Final = (DOCS / "reference" / "quickstart-conformance.md").read_text(encoding="utf-8")

STATEMENTS: Final = (
    "`RETRY_BACKOFF_BASE`",
    "`MAX_RETRY_BACKOFF`",
    "FR-008",
    "FR-009",
    "`calculate_backoff`",
    "10 s → 20 s → 40 s → 80 s → 160 s → 300 s",
    "`TestExponentialBackoff`",
    "`TestStartupRefresh`",
    "`TestRefreshHealthState`",
    "`TestOAuthServerSurvivesRestart`",
    "NAME, STATUS, HEALTH",
    "`healthy (Token refresh scheduled for 14:30)`",
    "`degraded (Refresh retry 2 in 40s: timeout)`",
    "`unhealthy (Refresh token expired - login required)`",
    "`level`, `summary`, `detail`, `action`",
    "`mcpproxy_oauth_refresh_total`",
    "`success` and `failed_network`",
    *(
        f"`{message}`"
        for message in (
            refresh_log.SCHEDULED,
            refresh_log.ATTEMPT,
            refresh_log.SUCCEEDED,
            refresh_log.FAILED,
            refresh_log.RETRY_SCHEDULED,
        )
    ),
    *(f"{n}. " for n in range(1, 6)),
    *(f"SC-00{n}" for n in range(1, 6)),
    "`./mcpproxy serve --log-level=debug`",
    "`mcpproxy auth login github-mcp`",
    "`mcpproxy upstream list -o json`",
    "`pkill mcpproxy`",
    "`curl http://localhost:8080/metrics`",
    "filtered by `oauth`",
)


def test_every_named_test_exists() -> None:
    assert missing(PAGE) == []


def test_a_test_that_does_not_exist_is_found() -> None:
    here = Path(__file__).relative_to(ROOT).as_posix()
    named = f"`{here}::test_a_test_that_does_not_exist_is_found`"
    assert missing(f"{named} `{here}::test_nothing` `tests/none.py::test_it`") == [
        f"{here}::test_nothing",
        "tests/none.py::test_it",
    ]


def test_every_statement_has_a_row_with_a_test() -> None:
    found = list(rows(PAGE, 2))
    assert [cells[0] for cells in found if not NAMED.search(cells[1])] == []
    told = [cells[0] for cells in found]
    assert [each for each in STATEMENTS if not any(each in row for row in told)] == []
