"""The command line as a whole: exit codes, formats, help, what happens without a daemon."""

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path

import click
import pytest

from mcpproxy import __version__
from mcpproxy.cli.program import COMMANDS, global_options
from mcpproxy.core.approvals import Standing
from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.model import Upstream
from tests.cli.conftest import Program
from tests.web.daemon import Daemon
from tests.web.stubs import KEY, World

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_of_the_table_has_help_and_global_options(path: str) -> None:
    command = import_module(f"mcpproxy.cli.commands.{COMMANDS[path]}").command
    assert isinstance(command, click.Command)
    assert command.help
    mine = {name for option in command.params for name in option.opts}
    clashes = mine & {name for option in global_options() for name in option.opts}
    assert clashes == set() or "global_output" in {option.name for option in command.params}


def test_every_file_in_commands_is_in_the_table() -> None:
    files = {path.stem for path in (CHECKOUT / "src/mcpproxy/cli/commands").glob("*.py")}
    assert files - {"__init__"} == set(COMMANDS.values())


@pytest.mark.parametrize(
    "arguments", [(), ("upstream",), ("auth",), ("tools",), ("upstream", "list"), ("serve",)]
)
def test_help_is_there_at_every_level(program: Program, arguments: tuple[str, ...]) -> None:
    ran = program.run(*arguments, "--help")
    assert ran.code == 0
    assert "Usage: mcpproxy" in ran.out


def test_version_is_printed_in_every_format(program: Program) -> None:
    assert program.run("version").out == f"mcpproxy {__version__}\n"
    assert json.loads(program.run("version", "-o", "json").out)["version"] == __version__
    assert f"version: {json.dumps(__version__)}" in program.run("-o", "yaml", "version").out


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("upstream", "list", "--frob"), ("upstream", "inspect"), ("serve", "-x"),
     ("-o", "xml", "version"), ("--log-level", "loud", "version"), ("auth", "login")],
)  # fmt: skip
def test_a_wrong_command_line_exits_2(program: Program, arguments: tuple[str, ...]) -> None:
    ran = program.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err


@pytest.mark.parametrize(
    "arguments", [("frobnicate",), ("upstream", "list", "--frob"), ("upstream",), ()]
)
def test_errors_are_json_too_when_json_is_asked_for(
    program: Program, arguments: tuple[str, ...]
) -> None:
    ran = program.run("-o", "json", *arguments)
    error = json.loads(ran.out)["error"]
    assert (ran.code, error["exit_code"], error["code"]) == (2, 2, "usage")


def test_a_command_that_needs_the_daemon_says_how_to_start_it(program: Program) -> None:
    ran = program.run("auth", "login", "x")
    assert ran.code == 1
    assert "mcpproxy serve" in ran.err
    error = json.loads(program.run("auth", "login", "x", "-o", "json").out)["error"]
    assert error["code"] == "daemon_absent"


def test_without_a_daemon_the_configuration_is_read_and_that_is_said(program: Program) -> None:
    program.configure(
        '{"mcpServers": [{"name": "one", "url": "https://one.example/mcp"},'
        ' {"name": "off", "command": "x", "enabled": false}]}'
    )
    ran = program.run("upstream", "list")
    assert ran.code == 0
    assert "no daemon runs" in ran.err
    assert ran.out.splitlines() == [
        "NAME STATUS       HEALTH",
        "off  disabled     healthy (Disabled)",
        "one  disconnected degraded (Daemon not running)",
    ]
    found = json.loads(program.run("upstream", "list", "-o", "json").out)
    assert [each["name"] for each in found] == ["off", "one"]
    assert "not connected" in program.run("explain", "one").out
    assert "not running" in program.run("status").out
    assert program.run("upstream", "inspect", "nobody").code == 12


def test_nothing_is_written_by_looking(program: Program) -> None:
    for arguments in (("upstream", "list"), ("status",), ("doctor",), ("auth", "status")):
        program.run(*arguments)
    assert not program.data_dir.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"mcpServers": [', "line 1"),
        ('{"mcpServers": [{"name": "a"}]}', "mcpServers[0]"),
        ('{"mcpServers": [{"name": "a", "command": "x", "protocol": "pigeon"}]}', "protocol"),
    ],
)
def test_a_broken_configuration_exits_4_and_names_the_place(
    program: Program, text: str, words: str
) -> None:
    program.configure(text)
    ran = program.run("upstream", "list")
    assert ran.code == 4
    assert words in ran.err
    as_json = json.loads(program.run("upstream", "list", "-o", "json").out)["error"]
    assert as_json["code"] == "config_error"
    doctor = program.run("doctor")
    assert doctor.code == 1
    assert words in doctor.out


def test_servers_are_added_and_removed_in_the_file_when_no_daemon_runs(program: Program) -> None:
    assert program.run("upstream", "add", "one", "https://one.example/mcp").code == 0
    assert program.run("upstream", "add", "two", "--env", "A=b=c", "--", "cmd", "-x").code == 0
    assert program.run("upstream", "add", "one", "https://x.example/").code == 4
    assert program.run("upstream", "disable", "two").code == 0
    names = [each["name"] for each in json.loads(program.run("upstream", "list", "-ojson").out)]
    assert names == ["one", "two"]
    inspected = json.loads(program.run("upstream", "inspect", "two", "-o", "json").out)
    assert (inspected["command"], inspected["args"]) == ("cmd", ["-x"])
    assert inspected["enabled"] is False
    assert program.run("upstream", "remove", "two").code == 0
    assert program.run("upstream", "remove", "two").code == 12


def test_a_server_that_cannot_be_added_is_not_the_files_fault(program: Program) -> None:
    assert program.run("upstream", "add", "one", "https://one.example/mcp").code == 0
    refused = program.run("upstream", "add", "bad/name", "https://x.example/")
    assert refused.code == 4
    assert refused.err.splitlines()[-2:] == [
        'Error: name: found "bad/name"; allowed: lower-case letters, digits, - and _, starting '
        'with a letter or digit, up to 63; try "bad-name"',
        "Next: nothing was changed; try again with what is allowed",
    ]


@pytest.mark.parametrize(
    "target",
    [("ftp://x",), ("not a url",), ("HTPS://x.example/mcp",), ("uvx",), ("uvx", "mcp-server-time"),
     ("--", "https://x.example/mcp"), ("https://x.example/mcp", "more")],
)  # fmt: skip
def test_what_is_neither_a_url_nor_a_command_after_dashes_is_refused(
    program: Program, target: tuple[str, ...]
) -> None:
    ran = program.run("upstream", "add", "one", *target)
    assert (ran.code, ran.out) == (2, "")
    assert "-- COMMAND" in ran.err
    assert not program.data_dir.exists()


@pytest.mark.parametrize("target", ["HTTPS://one.example/mcp", "https://one.example/mcp"])
def test_a_url_is_a_url_in_any_case(program: Program, target: str) -> None:
    assert program.run("upstream", "add", "one", target).code == 0
    assert json.loads(program.run("upstream", "inspect", "one", "-o", "json").out)["url"] == target


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        (("upstream", "enable", "one"), "Enabled one."),
        (("upstream", "disable", "one"), "Disabled one."),
        (("upstream", "approve", "one"), "Approved one."),
        (("upstream", "restart", "one"), "Restarting one."),
        (("auth", "logout", "one"), "Logged out of one."),
        (("auth", "logout", "--server", "one"), "Logged out of one."),
        (("upstream", "remove", "one"), "Removed one."),
    ],
)
def test_actions_go_through_the_daemon(
    daemon: Daemon, world: World, program: Program, arguments: tuple[str, ...], action: str
) -> None:
    world.add_oauth("one")
    ran = program.run(*arguments)
    assert ran.code == 0
    assert ran.out.startswith(action)
    unknown = program.run(*arguments[:2], "nobody")
    assert unknown.code == 12
    assert "nobody" in unknown.err


def test_adding_goes_through_the_daemon(daemon: Daemon, world: World, program: Program) -> None:
    ran = program.run("upstream", "add", "two", "https://t.example/", "--header", "X-A: b: c")
    assert (ran.code, ran.out) == (0, "Added two.\n")
    assert world.servers["two"].url == "https://t.example/"
    again = program.run("upstream", "add", "two", "https://t.example/")
    assert again.code == 4
    assert "taken" in again.err


def test_a_kept_login_without_a_server_is_shown_and_can_be_forgotten(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    del world.servers["one"]
    _, line = program.run("auth", "status").out.splitlines()
    assert line.startswith("one  yes")
    assert line.endswith("not configured (mcpproxy auth logout one forgets it)")
    (found,) = json.loads(program.run("auth", "status", "one", "-o", "json").out)
    assert (found["name"], found["configured"], found["health"]) == ("one", False, None)
    assert program.run("auth", "logout", "one").code == 0
    assert program.run("auth", "status").out.splitlines()[1:] == []
    assert program.run("auth", "status", "one").code == 12


def test_logs_are_shown_and_followed(daemon: Daemon, world: World, program: Program) -> None:
    world.add_oauth("one")
    world.lines["one"] = ["first", "\x1b[2Jsecond"]
    assert program.run("upstream", "logs", "one").out == "first\n\\x1b[2Jsecond\n"
    following = subprocess.Popen(
        program.command("upstream", "logs", "one", "-f", "-n", "1"),
        stdout=subprocess.PIPE, text=True, env=program.environment(PYTHONUNBUFFERED="1"),
    )  # fmt: skip
    assert following.stdout is not None
    assert following.stdout.readline() == "\\x1b[2Jsecond\n"

    def write() -> None:
        world.lines["one"].append("third")
        world.line_written.set()

    daemon.call(write)
    assert following.stdout.readline() == "third\n"
    daemon.stop()
    assert following.wait(20) == 0
    following.stdout.close()


def test_tools_are_listed_searched_and_called(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    assert program.run("tools", "list").out.splitlines()[1] == "one    echo Says it back"
    assert program.run("tools", "list", "one").code == 0
    assert program.run("tools", "list", "nobody").code == 12
    assert "echo" in program.run("tools", "search", "Says").out
    assert program.run("tools", "call", "one", "echo", '{"a": 1}').out == '{"a": 1}\n'
    assert program.run("tools", "call", "one", "echo", "-", stdin='{"b":2}').out == '{"b": 2}\n'
    assert program.run("tools", "call", "one:echo", '{"a": 1}').out == '{"a": 1}\n'
    assert program.run("tools", "call", "one", "echo", "[1]").code == 2
    assert program.run("tools", "call", "one").code == 2
    assert program.run("tools", "call", "one:echo", "{}", "more").code == 2
    assert program.run("tools", "call", "one", "gone").code == 1


def test_preflight_says_by_its_exit_code_whether_to_go_on(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("good")
    for name, state, trouble in (
        ("soon", ConnectionState.CONNECTING, None),
        ("login", ConnectionState.ERROR, Trouble.LOGIN_NEEDED),
    ):
        world.servers[name] = Upstream(name, url=f"https://{name}.example/mcp")
        world.connection_facts[name] = Connection(state, trouble=trouble)
    assert program.run("tools", "preflight", "good").code == 0
    world.standings["good", "echo"] = Standing.OFFERED
    world.standings["good", "new"] = Standing.HELD_NEW
    assert program.run("tools", "preflight", "good__echo").code == 0
    assert program.run("tools", "preflight", "good:new").code == 11
    assert "good:gone 12" in program.run("tools", "preflight", "good:gone").out
    assert program.run("tools", "preflight", "soon").code == 10
    assert program.run("tools", "preflight", "login", "soon").code == 11
    ran = program.run("tools", "preflight", "good", "login", "nobody", "-o", "json")
    assert ran.code == 12
    assert [each["exit_code"] for each in json.loads(ran.out)] == [0, 11, 12]


def test_status_and_doctor_say_where_things_are_and_never_the_key(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    program.configure(json.dumps({"api_key": KEY}))
    for kind in ("table", "json", "yaml"):
        status = program.run("status", "-o", kind)
        doctor = program.run("doctor", "-o", kind)
        assert (status.code, doctor.code) == (0, 0)
        assert "/data/mcp_config.json" in status.out
        assert KEY not in status.out + doctor.out
    assert json.loads(program.run("status", "-o", "json").out)["running"] is True


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed_and_complete(program: Program, shell: str) -> None:
    assert "_MCPPROXY_COMPLETE" in program.run("completion", shell).out
    env = {
        "_MCPPROXY_COMPLETE": "bash_complete",
        "COMP_WORDS": "mcpproxy upstream li",
        "COMP_CWORD": "2",
    }
    assert program.run(env=env).out == "plain,list\n"


def test_a_closed_pipe_is_no_error(daemon: Daemon, world: World, program: Program) -> None:
    for number in range(200):
        world.add_oauth(f"server-{number:03}")
    command = " ".join(program.command("upstream", "list", "-o", "json"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        capture_output=True, text=True, env=program.environment(), check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout == "[\n"
    assert done.stderr == ""


def test_the_launcher_runs_the_environments_program(program: Program) -> None:
    done = subprocess.run(
        [CHECKOUT / "mcpproxy", "version"],
        capture_output=True, text=True, env=program.environment(), check=True, cwd="/",
        timeout=60,
    )  # fmt: skip
    assert done.stdout == f"mcpproxy {__version__}\n"
    assert os.access(CHECKOUT / "mcpproxy", os.X_OK)
