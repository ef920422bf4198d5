"""`mcpproxy auth login`: the URL, the browser, the paste, the outcome and its exit code."""

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.model import Upstream
from mcpproxy.core.ports import LoginFlow, LoginWay
from tests.cli.conftest import Program
from tests.web.daemon import Daemon
from tests.web.stubs import World

URL = "https://provider.example/authorize?state=s-one"
DEADLINE = 20


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A browser that notes what it is asked to open."""
    script, log = tmp_path / "browser", tmp_path / "opened"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" > {log}\n')
    script.chmod(0o755)
    return script


def start(program: Program, browser: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        program.command("auth", "login", *arguments),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=program.environment(BROWSER=f"{browser} %s"),
    )  # fmt: skip


def until_begun(world: World, name: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while f"login {name}" not in world.done:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("arguments", [("one",), ("--server", "one")])
def test_it_opens_the_browser_prints_the_url_and_ends_with_success(
    daemon: Daemon, world: World, program: Program, browser: Path, arguments: tuple[str, ...]
) -> None:
    world.add_oauth("one")
    login = start(program, browser, *arguments)
    until_begun(world, "one")
    opened = browser.with_name("opened")
    deadline = time.monotonic() + DEADLINE
    while not (opened.exists() and opened.read_text().endswith(f"{URL}\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert opened.read_text() == f"1\n{URL}\n"
    daemon.call(lambda: world.settle("one", "succeeded", message="Logged in."))
    out, _ = login.communicate(timeout=DEADLINE)
    assert login.returncode == 0
    assert URL in out
    assert out.endswith("Logged in to one.\n")


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        ("denied", "login_denied", "The provider said access_denied."),
        ("failed", "login_failed", "The code was refused."),
        ("timed_out", "login_timed_out", "Nobody finished it."),
    ],
)
def test_a_login_that_does_not_come_about_ends_with_the_reason(
    daemon: Daemon, world: World, program: Program, browser: Path,
    outcome: str, code: str, message: str,
) -> None:  # fmt: skip
    world.add_oauth("one")
    login = start(program, browser, "one", "-o", "json")
    until_begun(world, "one")
    daemon.call(lambda: world.settle("one", outcome, code, message))
    out, err = login.communicate(timeout=DEADLINE)
    assert login.returncode == 1
    error = json.loads(out)["error"]
    assert error["code"] == code
    assert message in error["message"]
    assert URL in err


def test_a_pasted_redirect_finishes_it_and_no_browser_is_opened(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    world.add_oauth("one")
    login = start(program, browser, "one", "--no-browser")
    pasted = "not an address\n\nhttp://127.0.0.1:1/oauth/callback?code=c&state=s-one\n"
    out, err = login.communicate(pasted, timeout=DEADLINE)
    assert login.returncode == 0
    assert URL in out
    assert "That did not work" in err
    assert not browser.with_name("opened").exists()


def test_waiting_ends_when_the_time_is_up(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    world.add_oauth("one")
    login = start(program, browser, "one", "--timeout", "1")
    _, err = login.communicate(timeout=DEADLINE)
    assert login.returncode == 1
    assert "within 1 s" in err
    assert "still works until" in err


def test_an_interrupt_ends_the_wait_cleanly_and_not_the_login(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    world.add_oauth("one")
    login = start(program, browser, "one")
    until_begun(world, "one")
    assert login.stdout is not None
    assert "To log in" in login.stdout.readline()
    login.send_signal(signal.SIGINT)
    _, err = login.communicate(timeout=DEADLINE)
    assert login.returncode == 130
    assert "Traceback" not in err
    assert world.pending("one") is not None


def test_an_unknown_server_is_refused_before_anything_is_opened(
    daemon: Daemon, program: Program, browser: Path
) -> None:
    login = start(program, browser, "nobody")
    login.communicate(timeout=DEADLINE)
    assert login.returncode == 12
    assert not browser.with_name("opened").exists()


def test_a_url_that_no_browser_should_see_is_printed_escaped_and_not_opened(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    world.add_oauth("one")
    begin = world.begin

    async def hostile(server: str, way: LoginWay | None) -> object:
        flow = await begin(server, way)
        world.flows[flow.flow_id] = replace(flow, authorization_url="javascript:x()//\x1b[2J")
        return world.flows[flow.flow_id]

    world.begin = hostile  # type: ignore[assignment,method-assign]
    login = start(program, browser, "one", "--timeout", "1")
    out, err = login.communicate(timeout=DEADLINE)
    assert "\\x1b[2J" in out
    assert "\x1b" not in out + err
    assert not browser.with_name("opened").exists()


def test_on_another_device_the_page_and_the_code_are_shown_and_no_browser_is_opened(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    world.add_oauth("one")
    login = start(program, browser, "one", "--device")
    until_begun(world, "one")
    daemon.call(lambda: world.settle("one", "succeeded", message="Logged in."))
    out, _ = login.communicate(timeout=DEADLINE)
    assert login.returncode == 0
    assert "https://provider.example/device\n" in out
    assert "enter the code:\n\n  WDJB-MJHT\n" in out
    assert URL in out, "the page with the code in it"
    assert out.endswith("Logged in to one.\n")
    assert not browser.with_name("opened").exists()


def test_on_another_device_a_script_gets_the_outcome_alone(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    world.add_oauth("one")
    login = start(program, browser, "one", "--device", "-o", "json")
    until_begun(world, "one")
    daemon.call(lambda: world.settle("one", "timed_out", "login_timed_out", "Nobody did."))
    out, err = login.communicate(timeout=DEADLINE)
    assert login.returncode == 1
    assert "WDJB-MJHT" in err
    assert "WDJB-MJHT" not in out


@pytest.mark.parametrize(("outcome", "code"), [("succeeded", 0), ("failed", 1)])
def test_a_login_without_a_person_ends_at_once_and_shows_nothing_to_open(
    daemon: Daemon, world: World, program: Program, browser: Path, outcome: str, code: int
) -> None:
    world.add_oauth("one")

    async def by_machine(server: str, way: LoginWay | None) -> LoginFlow:
        said = "Logged in." if outcome == "succeeded" else "invalid_client"
        return LoginFlow("m1", server, "", world.clock.now(), outcome=outcome, message=said)

    world.begin = by_machine  # type: ignore[assignment,method-assign]
    login = start(program, browser, "one")
    out, err = login.communicate(timeout=DEADLINE)
    assert login.returncode == code
    assert "open" not in out
    assert "Logged in to one." in out or "invalid_client" in err
    assert not browser.with_name("opened").exists()


def test_all_logs_in_wherever_a_login_is_needed(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    world.add_oauth("fine")
    for name in ("one", "two"):
        world.servers[name] = Upstream(name, url=f"https://{name}.example/mcp")
        world.connection_facts[name] = Connection(
            ConnectionState.ERROR, trouble=Trouble.LOGIN_NEEDED
        )
    login = start(program, browser, "--all")
    for name in ("one", "two"):
        until_begun(world, name)
        daemon.call(lambda name=name: world.settle(name, "succeeded", message="Logged in."))
    out, _ = login.communicate(timeout=DEADLINE)
    assert login.returncode == 0
    assert "Logged in to one." in out
    assert "Logged in to two." in out
    assert "login fine" not in world.done


def test_what_came_of_all_logins_is_one_list_for_programs(
    daemon: Daemon, world: World, program: Program, browser: Path
) -> None:
    nothing = program.run("auth", "login", "--all", "-o", "json")
    assert (nothing.code, json.loads(nothing.out)) == (0, [])
    for name in ("one", "two"):
        world.servers[name] = Upstream(name, url=f"https://{name}.example/mcp")
        world.connection_facts[name] = Connection(
            ConnectionState.ERROR, trouble=Trouble.LOGIN_NEEDED
        )
    login = start(program, browser, "--all", "-o", "json")
    for name, outcome in (("one", "succeeded"), ("two", "denied")):
        until_begun(world, name)
        daemon.call(lambda name=name, outcome=outcome: world.settle(name, outcome, message="Well."))
    out, _ = login.communicate(timeout=DEADLINE)
    assert login.returncode == 1
    assert [(each["server"], each["outcome"]) for each in json.loads(out)] == [
        ("one", "succeeded"),
        ("two", "denied"),
    ]


def test_status_shows_expiry_and_refreshes(daemon: Daemon, world: World, program: Program) -> None:
    world.add_oauth("one")
    lines = program.run("auth", "status").out.splitlines()
    assert (
        " ".join(lines[0].split())
        == "NAME LOGIN TOKEN EXPIRES LAST REFRESH NEXT REFRESH LOGIN ENDS HEALTH"
    )
    assert "2026-01-12T15:05:00Z" in lines[1]
    assert "2026-01-12T14:53:00Z" in lines[1]
    (found,) = json.loads(program.run("auth", "status", "one", "-o", "json").out)
    assert found["authenticated"] is True
