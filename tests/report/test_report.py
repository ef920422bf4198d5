"""The report tells what the records say, and fails when they say that a goal was missed."""

import json
from pathlib import Path

import pytest

from tests.report.__main__ import main
from tests.report.goals import GOALS, Bound, Proof, State, further, judge
from tests.simulation.progress import Progress

RACE = {"refreshes at the provider": 1000, "tokens presented twice": 0, "logins lost": 0}
RACE_GOAL = next(goal for goal in GOALS if goal.records == ("race",))


def proof(name: str, **figures: object) -> Proof:
    return Proof(name, "what was to be shown", "what was seen", figures)  # type: ignore[arg-type]


def leave(folder: Path, name: str, figures: object) -> None:
    folder.mkdir(exist_ok=True)
    record = {"name": name, "goal": "to be shown", "held": "as it says", "figures": figures}
    (folder / f"{name}.json").write_text(json.dumps(record))


def report(tmp_path: Path) -> tuple[int, str]:
    """The exit status and the page, from what lies in `proofs` and `runs`."""
    page = tmp_path / "reliability.html"
    folders = ["--proofs", str(tmp_path / "proofs"), "--runs", str(tmp_path / "runs")]
    status = main([*folders, "--page", str(page)])
    return status, page.read_text(encoding="utf-8")


def test_a_goal_whose_figures_keep_their_bounds_is_held() -> None:
    assert judge(RACE_GOAL, [proof("race", **RACE)]).state is State.HELD


@pytest.mark.parametrize("figure", RACE)
def test_a_goal_is_missed_by_each_of_its_figures(figure: str) -> None:
    spoilt = proof("race", **{**RACE, figure: RACE[figure] + 1})
    verdict = judge(RACE_GOAL, [spoilt])
    assert verdict.state is State.MISSED
    assert figure in verdict.seen


def test_a_figure_that_was_not_measured_holds_nothing() -> None:
    verdict = judge(RACE_GOAL, [proof("race", **{"logins lost": 0})])
    assert verdict.state is State.MISSED
    assert "not measured" in verdict.seen


def test_a_goal_without_a_record_is_missing() -> None:
    assert {judge(goal, []).state for goal in GOALS} == {State.MISSING}


def test_runs_prove_one_figure_together() -> None:
    goal = next(goal for goal in GOALS if goal.sums)
    runs = [
        proof(
            f"simulation-{n}",
            **{
                "refreshes": 25_000,
                "lost by us, or told falsely": 0,
                "faults for 20 refreshes": 2.5,
            },
        )
        for n in range(2)
    ]
    assert judge(goal, runs).state is State.HELD
    assert judge(goal, runs[:1]).state is State.MISSED


def test_a_record_of_no_known_goal_is_missed_when_it_counts_a_loss() -> None:
    (good,) = further([proof("new", **{"lost": 0, "logins": 3})])
    (bad,) = further([proof("new", **{"lost": 1})])
    assert (good.state, bad.state) == (State.HELD, State.MISSED)


def test_a_share_is_a_number() -> None:
    assert Bound("their share", "≥", 25).complaint({"their share": "60%"}) is None
    assert Bound("their share", "≥", 25).complaint({"their share": "20%"}) is not None


def test_the_report_fails_when_a_record_says_that_a_goal_was_missed(tmp_path: Path) -> None:
    leave(tmp_path / "proofs", "race", {**RACE, "logins lost": 1})
    status, page = report(tmp_path)
    assert status == 1
    assert "<span class=missed>missed</span>" in page
    assert "logins lost is 1, wanted = 0" in page


def test_the_report_shows_what_is_missing_and_does_not_call_it_held(tmp_path: Path) -> None:
    (tmp_path / "proofs").mkdir()
    status, page = report(tmp_path)
    assert status == 0
    assert page.count("<span class=missing>missing</span>") == len(GOALS)
    assert "<span class=held>" not in page
    assert "no long run was made" in page


def test_the_report_fails_when_a_long_run_found_something(tmp_path: Path) -> None:
    (tmp_path / "proofs").mkdir()
    (tmp_path / "runs").mkdir()
    run = Progress("memory", 1, "abc", [1], 4000, 12.5, 3, {"CRASH": 7}, {"1": "its story"})
    fields = {name: getattr(run, name) for name in Progress.__dataclass_fields__}
    (tmp_path / "runs" / "memory-1.json").write_text(json.dumps(fields))
    status, page = report(tmp_path)
    assert status == 1
    assert "found by seeds 1" in page
    assert "12.5 of 10,000" in page


def test_what_a_record_says_cannot_break_the_page(tmp_path: Path) -> None:
    leave(tmp_path / "proofs", "odd", {"<script>alert(1)</script>": "<b>"})
    assert "<script>" not in report(tmp_path)[1]


def test_planted_bugs_and_faults_have_their_tables(tmp_path: Path) -> None:
    figures = {"planted": 30, "found": 30, "last_seed": 9, "bug: no lease": 1, "fault: CRASH": 12}
    leave(tmp_path / "proofs", "planted-bugs", figures)
    page = report(tmp_path)[1]
    assert "<td>no lease<td class=n>1" in page
    assert "<td>crash<td class=n>12" in page
