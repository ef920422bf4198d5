"""Every known way to lose a login has a row: with a scenario that exists, or with the reason why
it cannot arise.
"""

from typing import Final

from tests.docs.markdown import DOCS, rows
from tests.docs.named_tests import NAMED, missing

PAGE: Final = (DOCS / "explanation" / "field-reports.md").read_text(encoding="utf-8")

MODES: Final = {"A": 9, "B": 7, "C": 11, "D": 8, "E": 8, "F": 4, "G": 2, "H": 3}
"""The taxonomy: how many ways there are in each class."""

REPORTS: Final = (
    "opencode #34074",
    "opencode #49439",
    "claude-code #84440",
    "claude-code #91641",
    "oh-my-pi #5072",
    "HQBase #41",
    "hermes-agent #110720",
    "local-operator #945",
    "shunt #73",
    "local-operator #1292",
    "xagent #1544",
    "litellm",
    "frappe #26271",
    "wrangler",
    "python-sdk",
    "cloudflare/mcp #137",
)
"""The reports that are told one by one."""

CANNOT: Final = "Cannot arise:"


def ways() -> dict[str, list[str]]:
    """The table of ways to lose a login, by number."""
    return {cells[0]: list(cells) for cells in rows(PAGE, 4)}


def test_every_named_test_exists() -> None:
    assert missing(PAGE) == []


def test_every_way_to_lose_a_login_has_its_row() -> None:
    expected = {f"{group}{n}" for group, most in MODES.items() for n in range(1, most + 1)}
    assert expected - set(ways()) == set()


def test_every_row_names_a_test_or_says_why_it_cannot_arise() -> None:
    tables = [*rows(PAGE, 4), *rows(PAGE, 3)]
    assert len(tables) > sum(MODES.values()) + len(REPORTS)
    assert [
        cells[0] for cells in tables if not NAMED.search(cells[-1]) and CANNOT not in cells[-1]
    ] == []


def test_every_single_report_has_its_row() -> None:
    told = " ".join(cells[0] for cells in rows(PAGE, 3))
    assert [report for report in REPORTS if report not in told] == []
