"""`explain` and `auth status` as a person reads them, and whole for programs."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.ledger import LedgerLine, Outcome, login_line
from mcpproxy.core.model import Learned
from tests.cli.conftest import Program
from tests.web.daemon import Daemon
from tests.web.stubs import NOW, World

DAY = timedelta(days=1)


def refreshes(count: int) -> list[LedgerLine]:
    return [
        LedgerLine(
            server="one",
            login_id="login-one",
            at=NOW + number * timedelta(minutes=48),
            outcome=Outcome.ISSUED,
            generation=number,
            duration=timedelta(milliseconds=400),
            attempt_id=f"a{number}",
            cause="scheduled",
            holder="4711",
            fingerprint="0123abcd",
            new_fingerprint="89abcdef",
        )
        for number in range(1, count + 1)
    ]


@pytest.fixture
def told(world: World) -> World:
    grant = world.add_oauth("one")
    world.ledger["one"] = [login_line(grant), *refreshes(30)]
    return world


def test_an_explanation_reads_from_how_it_is_to_what_to_do(
    daemon: Daemon, told: World, program: Program
) -> None:
    out = program.run("explain", "one").out.splitlines()
    assert out[0] == "one is healthy: Connected (5 tools)"
    heads = [line for line in out if not line.startswith("  ")]
    assert heads == [
        "one is healthy: Connected (5 tools)",
        "What happened:",
        "What happens next:",
        "What to do: Nothing to do.",
    ]
    at = out.index("What happened:")
    assert out[at + 1] == "  2026-01-12T14:05:00Z Logged in at https://provider.example."
    assert "29 refreshes of generations 1 to 29: new tokens." in out[at + 2]
    assert out[at + 4] == "  (in short; --all shows the 31 lines that are kept)"


def test_all_and_a_limit_show_lines_in_full(daemon: Daemon, told: World, program: Program) -> None:
    everything = program.run("explain", "one", "--all").out
    assert everything.count(" Refresh of generation ") == 30
    assert "in short" not in everything
    some = program.run("explain", "one", "--limit", "2").out
    assert some.count(" Refresh of generation ") == 2
    assert "generation 30 (#0123abcd) by process 4711" in some


def test_programs_get_all_of_the_ledger(daemon: Daemon, told: World, program: Program) -> None:
    found = json.loads(program.run("explain", "one", "-o", "json").out)
    assert len(found["ledger"]) == 31
    assert found["ledger"][-1]["generation"] == 30
    (last,) = json.loads(program.run("explain", "one", "--limit", "1", "-o", "json").out)["ledger"]
    assert last["new_fingerprint"] == "89abcdef"
    assert "outcome: issued" in program.run("explain", "one", "--limit", "1", "-o", "yaml").out


def test_words_of_a_provider_cannot_speak_to_the_terminal(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    evil = replace(refreshes(1)[0], outcome=Outcome.TRANSIENT, detail="\x1b[2J\nWhat to do: pay")
    world.ledger["one"] = [evil]
    out = program.run("explain", "one").out
    assert "\x1b" not in out
    assert "\nWhat to do: pay" not in out


def test_status_says_when_a_login_ends_and_why(
    daemon: Daemon, world: World, program: Program
) -> None:
    learned = Learned(True, timedelta(hours=1), 3, NOW + 2 * DAY)
    world.add_oauth("one", learned=learned, issuer="https://accounts.google.com")
    head, row, end = program.run("auth", "status").out.splitlines()
    assert "LOGIN ENDS" in head
    assert "2026-01-14T14:05:00Z" in row
    assert end == (
        "one ends at 2026-01-14T14:05:00Z, because the provider's access tokens get shorter "
        "towards it."
    )


def test_status_of_one_login_says_what_is_known_of_its_provider(
    daemon: Daemon, world: World, program: Program
) -> None:
    learned = Learned(rotates=False, usual_life=timedelta(hours=1), steady=3)
    world.add_oauth("one", learned=learned, issuer="https://accounts.google.com")
    world.add_oauth("two")
    out = program.run("auth", "status", "one").out.splitlines()[2:]
    assert out == [
        "Provider: https://accounts.google.com (Google)",
        "New refresh token with each refresh: no",
        "Usual life of an access token: 1h",
        "Note: logins of an app in testing end after 7 days",
    ]
    out = program.run("auth", "status", "two").out.splitlines()[2:]
    assert out[0].endswith("(no profile; what it does is learned from its answers)")
    assert out[1:] == [
        "New refresh token with each refresh: not known yet",
        "Usual life of an access token: not known yet",
    ]
    (found,) = json.loads(program.run("auth", "status", "one", "-o", "json").out)
    assert found["provider"] == {
        "profile": "Google",
        "rotates": False,
        "usual_life_seconds": 3600.0,
        "note": "logins of an app in testing end after 7 days",
    }
