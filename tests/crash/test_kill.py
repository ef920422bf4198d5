"""kill -9 of the real daemon, between any two steps of a refresh, against a provider's record."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.killing import Arena
from tests.crash.planted import BUGS
from tests.crash.series import failures, leave_for_the_report, tolls, total

KILLS = 200
SEED = 1
SERIES = 4
"""Of four kills each, in which a planted bug has to show."""


@pytest.mark.timeout(1200)
def test_two_hundred_kills_lose_no_login_but_those_of_the_strict_provider(tmp_path: Path) -> None:
    toll = total(list(tolls(tmp_path, KILLS, SEED)))
    leave_for_the_report(toll)
    assert not failures(toll, KILLS), toll


@pytest.mark.timeout(300)
def test_the_bugs_that_were_planted_are_found(tmp_path: Path) -> None:
    bugs = [bug for bug in BUGS if bug != "none"]

    def lost_with(bug: str) -> tuple[str, ...]:
        # A few kills may all fall into moments in which the bug does no harm.
        for number in range(1, SERIES + 1):
            directory = tmp_path / f"{bug}-{number}"
            if lost := Arena(directory, number=number, bug=bug, patience=12.0).run(4).lost:
                return lost
        return ()

    with ThreadPoolExecutor(len(bugs)) as pool:
        found = dict(zip(bugs, pool.map(lost_with, bugs), strict=True))
    assert all(found.values()), found
