"""The script that lets a real machine sleep: what it makes of what the daemon says, and when it
refuses to run. The sleep itself is a person's to try.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcpproxy.web.items import OAuthItem

SCRIPT = Path(__file__).parents[2] / "scripts" / "try-sleep"


def _load() -> ModuleType:
    """The script as a module; its name has no ending, so it is told how to load it."""
    loader = SourceFileLoader("try_sleep", str(SCRIPT))
    spec = importlib.util.spec_from_loader("try_sleep", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["try_sleep"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        return _load()
    finally:
        sys.dont_write_bytecode = before


def told(name: str, **changes: object) -> dict[str, Any]:
    """One login as `mcpproxy auth status -o json` prints it, as far as it matters here."""
    return {
        "name": name,
        "authenticated": True,
        "token_valid": True,
        "refresh_count": 7,
        "evidence": None,
        "health": {"line": "Token refresh scheduled for 07:30"},
        **changes,
    }


EXPIRED: Mapping[str, object] = {
    "token_valid": False,
    "health": {"line": "Refresh retry 2 in 8s: name not found"},
}
RENEWED: Mapping[str, object] = {"refresh_count": 8}
ENDED: Mapping[str, object] = {
    "authenticated": False,
    "token_valid": False,
    "evidence": "invalid_grant",
}


class Night:
    """What the daemon says at each question after the wake, half a second apart; the last for
    ever. The network is back after `online_after` seconds.
    """

    def __init__(
        self,
        script: ModuleType,
        *answers: Sequence[Mapping[str, Any]] | None,
        online_after: float = 1,
    ) -> None:
        self._script = script
        self._answers = list(answers)
        self._online_after = online_after
        self.time = 1000.0

    def logins(self) -> Mapping[str, Any] | None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return (
            None
            if answer is None
            else {each["name"]: self._script.login_of(each) for each in answer}
        )

    def now(self) -> float:
        return self.time

    def pause(self) -> None:
        self.time += 0.5

    def is_online(self) -> bool:
        return self.time >= 1000.0 + self._online_after

    def watched(self, *before: Mapping[str, Any], patience: float = 60.0) -> Any:
        known = {each["name"]: self._script.login_of(each) for each in before}
        return self._script.watch(known, 8 * 3600.0, self.logins, self, patience)


def test_the_stub_speaks_as_the_daemon_does() -> None:
    known = set(OAuthItem.__struct_fields__) | {"name", "health"}
    assert set(told("github")) <= known


def test_a_good_night_is_told_login_by_login(script: ModuleType) -> None:
    night = Night(
        script,
        [told("github", **EXPIRED), told("jira")],
        [told("github", **EXPIRED), told("jira")],
        [told("github", **EXPIRED), told("jira")],
        [told("github", **RENEWED), told("jira")],
    )
    outcome = night.watched(told("github"), told("jira"))
    assert outcome.code() == 0
    assert script.report(outcome) == [
        "NAME    USABLE AFTER  REFRESHES  LOGIN ASKED FOR",
        "github  1.5 s         1          no",
        "jira    0.0 s         0          no",
        "",
        "slept 28800 s; network after 1.0 s; 95 % of the logins usable 0.5 s after it",
        "No login was lost.",
    ]


def test_a_login_that_is_lost_is_named_with_its_evidence(script: ModuleType) -> None:
    night = Night(script, [told("github", **ENDED), told("jira")])
    outcome = night.watched(told("github"), told("jira"))
    assert outcome.code() == 1
    lines = script.report(outcome)
    assert "github  -             0          YES: invalid_grant" in lines
    assert "LOST: github. `mcpproxy explain NAME` has the evidence." in lines
    assert "No login was lost." not in lines


def test_a_login_that_is_gone_is_lost(script: ModuleType) -> None:
    outcome = Night(script, [told("jira")]).watched(told("github"), told("jira"))
    assert outcome.code() == 1
    assert "github  -             -          YES: it is gone" in script.report(outcome)


def test_a_daemon_that_knows_no_login_any_more_has_lost_them_all(script: ModuleType) -> None:
    outcome = Night(script, []).watched(told("github"), told("jira"), patience=5.0)
    assert outcome.code() == 1
    assert outcome.lost() == ["github", "jira"]


def test_a_login_that_is_late_is_not_lost_and_says_why(script: ModuleType) -> None:
    night = Night(script, [told("github", **EXPIRED)], online_after=99)
    outcome = night.watched(told("github"), patience=5.0)
    assert outcome.code() == 3
    lines = script.report(outcome)
    assert "github  -             0          no: Refresh retry 2 in 8s: name not found" in lines
    assert lines[-2].endswith("the network did not come back; 95 % of the logins not usable")
    assert lines[-1] == "Not usable yet: github; `mcpproxy explain NAME` says why."


def test_one_that_is_lost_ends_no_wait_for_the_others(script: ModuleType) -> None:
    night = Night(
        script,
        [told("github", **ENDED), told("jira", **EXPIRED)],
        [told("github", **ENDED), told("jira", **EXPIRED)],
        [told("github", **ENDED), told("jira", **RENEWED)],
    )
    outcome = night.watched(told("github"), told("jira"))
    assert outcome.usable_after == {"jira": 1.0}


def test_a_daemon_that_takes_a_moment_has_lost_nothing(script: ModuleType) -> None:
    night = Night(script, None, None, [told("github", **RENEWED)])
    assert night.watched(told("github")).code() == 0


def test_a_daemon_that_never_answers_is_no_loss_and_no_success(script: ModuleType) -> None:
    outcome = Night(script, None).watched(told("github"), patience=5.0)
    assert outcome.code() == 3
    assert "The daemon did not answer after the wake" in script.report(outcome)[-1]


def test_a_login_that_had_ended_before_is_none_of_its_business(script: ModuleType) -> None:
    night = Night(script, [told("github", **ENDED), told("jira")])
    outcome = night.watched(told("github", **ENDED), told("jira"))
    assert outcome.code() == 0
    assert set(outcome.before) == {"jira"}


# --- the command, with a stub for mcpproxy ------------------------------------------------------


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the script against a command that answers as a daemon would."""

    def run_it(
        *arguments: str, logins: Sequence[Mapping[str, Any]] = (), running: bool = True
    ) -> subprocess.CompletedProcess[str]:
        answers = {"status": {"running": running}, "auth": list(logins)}
        stub = tmp_path / "mcpproxy"
        stub.write_text(
            f"#!{sys.executable}\nimport json, sys\n"
            f"print(json.dumps(json.loads({json.dumps(answers)!r})[sys.argv[3]]))\n"
        )
        stub.chmod(0o755)
        command = [sys.executable, str(SCRIPT), "--mcpproxy", str(stub), *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )

    return run_it


def test_without_a_word_of_consent_no_machine_sleeps(run: Run) -> None:
    tried = run("--by-hand", logins=[told("github")])
    assert tried.returncode == 2
    assert tried.stdout == "1 login: github\n"
    assert tried.stderr == "Not tried: Nobody is there to say yes. Say it beforehand with --yes.\n"


def test_without_a_daemon_nothing_is_tried(run: Run) -> None:
    tried = run("--yes", running=False)
    assert (tried.returncode, tried.stdout) == (2, "")
    assert "Start it with `mcpproxy serve`" in tried.stderr


def test_without_a_login_nothing_is_tried(run: Run) -> None:
    tried = run("--yes", logins=[told("github", **ENDED)])
    assert (tried.returncode, tried.stdout) == (2, "")
    assert "`mcpproxy auth login NAME` makes one" in tried.stderr


def test_a_command_that_does_not_exist_is_named(run: Run) -> None:
    tried = run("--yes", "--mcpproxy", "no-such-mcpproxy -d x")
    assert tried.returncode == 2
    assert "`no-such-mcpproxy -d x status` does not work" in tried.stderr
    assert "Name it with --mcpproxy." in tried.stderr


def test_its_help_says_that_the_machine_really_sleeps(run: Run) -> None:
    helped = run("--help")
    assert helped.returncode == 0
    assert "the machine really sleeps" in helped.stdout
    assert "1 a login was lost" in helped.stdout
