"""`mcpproxy upstream list`: what it prints, what it loads, how long it takes."""

import json
import os
import pty
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.model import FailureKind, FailureRun, RefreshFailure, Refusals
from tests.cli.conftest import Program
from tests.web.daemon import Daemon
from tests.web.stubs import World

SAMPLE = """\
NAME          STATUS      HEALTH
github-mcp    connected   healthy (Token refresh scheduled for 14:30)
atlassian-mcp connected   degraded (Refresh retry 2 in 40s: timeout)
jira-mcp      error       unhealthy (Refresh token expired - login required)
"""


def as_in_the_quickstart(world: World) -> None:
    """The facts behind the three lines of the quickstart, at 14:05:00 UTC."""
    now = datetime(2026, 1, 12, 14, 5, tzinfo=UTC)
    # 80 % of this life, begun half an hour ago, is 14:30.
    world.add_oauth("github-mcp")
    tokens = world.grant_facts["github-mcp"].tokens
    life = timedelta(minutes=68, seconds=45)
    began = now - timedelta(minutes=30)
    world.add_oauth("github-mcp", tokens=_with_life(tokens, began, life))
    timeout = RefreshFailure(FailureKind.TRANSIENT, "timeout")
    # The second retry waits 20 s after the second failure; a later Retry-After asks for more.
    asked = RefreshFailure(FailureKind.TRANSIENT, "timeout", retry_at=now + timedelta(seconds=40))
    world.add_oauth("atlassian-mcp", failures=FailureRun(2, now - timedelta(minutes=1), now, asked))
    assert timeout.detail == asked.detail
    refused = RefreshFailure(FailureKind.REFUSED, "refused", code="invalid_grant")
    world.add_oauth("jira-mcp", refusals=Refusals(2, now, now, refused))


def _with_life(tokens: object, issued_at: datetime, life: timedelta) -> object:
    from dataclasses import replace

    return replace(tokens, issued_at=issued_at, expires_at=issued_at + life)  # type: ignore[type-var]


def test_the_table_is_the_quickstarts_byte_for_byte(
    daemon: Daemon, world: World, program: Program
) -> None:
    as_in_the_quickstart(world)
    ran = program.run("upstream", "list")
    lines = ran.out.splitlines(keepends=True)
    # The sample is not sorted by name; the product is. The lines are the same, byte for byte.
    assert lines[0] == SAMPLE.splitlines(keepends=True)[0]
    assert sorted(lines) == sorted(SAMPLE.splitlines(keepends=True))
    assert (ran.code, ran.err) == (0, "")


def test_json_is_an_array_sorted_by_name_with_the_health_object(
    daemon: Daemon, world: World, program: Program
) -> None:
    as_in_the_quickstart(world)
    for arguments in (("-o", "json", "upstream", "list"), ("upstream", "list", "-o", "json")):
        found = json.loads(program.run(*arguments).out)
        assert [each["name"] for each in found] == ["atlassian-mcp", "github-mcp", "jira-mcp"]
        for each in found:
            assert {"level", "admin_state", "summary", "detail", "action"} <= set(each["health"])
    degraded = found[0]["health"]
    assert degraded["summary"] == "Token refresh pending"
    assert degraded["detail"] == "Refresh retry 2 scheduled for 2026-01-12T14:05:40Z: timeout"
    assert degraded["action"] == "view_logs"


def test_an_empty_list_is_an_empty_array(daemon: Daemon, program: Program) -> None:
    assert program.run("upstream", "list", "-o", "json").out == "[]\n"
    assert program.run("upstream", "list", "-o", "yaml").out == "[]\n"
    assert program.run("upstream", "list").out == "NAME STATUS      HEALTH\n"


def test_the_environment_chooses_the_format_and_the_flag_wins(
    daemon: Daemon, program: Program
) -> None:
    env = {"MCPPROXY_OUTPUT": "json"}
    assert program.run("upstream", "list", env=env).out == "[]\n"
    assert program.run("upstream", "list", "-o", "table", env=env).out.startswith("NAME")


def test_a_servers_words_cannot_command_the_terminal(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("evil")
    hostile = "\x1b[2J\x1b]8;;http://x\x07\x9b31m\u202etxt\u200b\r\nfake  connected"
    world.grant_facts.clear()
    world.connection_facts["evil"] = Connection(ConnectionState.ERROR, error=hostile)
    from mcpproxy.core.connection import Trouble

    world.connection_facts["evil"] = Connection(
        ConnectionState.ERROR, trouble=Trouble.NETWORK, error=hostile
    )
    for arguments in (("upstream", "list"), ("upstream", "inspect", "evil"), ("explain", "evil")):
        for kind in ("table", "json", "yaml"):
            out = program.run(*arguments, "-o", kind).out
            assert "connected" in out
            bad = [c for c in out if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) <= 0x9F]
            assert bad == []
            assert not any(c in out for c in "\u202e\u200b")
    out = json.loads(program.run("upstream", "list", "-o", "json").out)
    assert out[0]["last_error"] == hostile


def test_colour_is_for_terminals_only(daemon: Daemon, world: World, program: Program) -> None:
    world.add_oauth("one")
    assert "\x1b" not in program.run("upstream", "list").out


@pytest.mark.parametrize("arguments", [("upstream", "list"), ("status",), ("auth", "status")])
def test_a_command_loads_nothing_heavy(
    daemon: Daemon, program: Program, arguments: tuple[str, ...]
) -> None:
    heavy = {
        "pydantic", "mcp", "fastmcp", "aiohttp", "httpx2", "starlette", "uvicorn", "rich",
        "structlog", "msgspec", "cryptography", "asyncio", "ssl", "email",
    }  # fmt: skip
    script = (
        "import sys, atexit\n"
        "tops = lambda: sorted(m.split('.')[0] for m in sys.modules)\n"
        "atexit.register(lambda: print('\\nLOADED', *tops()))\n"
        f"sys.argv = ['mcpproxy', *{list(arguments)!r}]\n"
        "from mcpproxy.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, env=program.environment(), check=True, timeout=30,
    )  # fmt: skip
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "click" in loaded
    assert loaded & heavy == set()


def test_it_is_fast(daemon: Daemon, world: World, program: Program) -> None:
    """The goal is 0.15 s of wall time on an idle machine; its processor time bounds it here."""
    for number in range(20):
        world.add_oauth(f"server-{number:02}")
    program.run("upstream", "list")
    best = min(_seconds(program) for _ in range(5))
    print(f"best of 5: {best:.3f} s")
    assert best < 0.5


def _seconds(program: Program) -> float:
    began = time.perf_counter()
    assert program.run("upstream", "list").code == 0
    return time.perf_counter() - began


def on_a_terminal(program: Program, **env: str) -> str:
    """What the program prints when its standard output is a terminal."""
    ours, its = pty.openpty()
    done = subprocess.Popen(
        program.command("upstream", "list"), stdout=its, env=program.environment(**env)
    )
    os.close(its)
    printed = b""
    with suppress(OSError):
        while piece := os.read(ours, 65536):
            printed += piece
    os.close(ours)
    assert done.wait(30) == 0
    return printed.decode()


def test_a_terminal_gets_colour_unless_somebody_asked_for_none(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    assert "\x1b[32mhealthy\x1b[0m (Token" in on_a_terminal(program)
    assert "\x1b" not in on_a_terminal(program, NO_COLOR="1")
