"""The commands about tools and calls: approve, enable, disable, preflight, activity."""

import json
from datetime import timedelta

from mcpproxy.core.activity import CallRecord
from mcpproxy.core.approvals import Held, HeldTool
from mcpproxy.core.control import Control, Profile
from mcpproxy.observability.activity_file import FILE, ActivityFile, microseconds
from tests.cli.conftest import Program
from tests.web.daemon import Daemon
from tests.web.stubs import KEY, NOW, World

WRITTEN = f"""{{
  "api_key": "{KEY}", // mine
  "mcpServers": [{{"name": "one", "command": "x"}}]
}}"""


def held(server: str, tool: str) -> HeldTool:
    before, now = b'{"description":"reads"}', rb'{"description":"reads \u001b[2J"}'
    return HeldTool(server, tool, Held.CHANGED, "d" * 64, before, now)


def test_what_waits_is_looked_at_first_and_then_approved_by_name(
    daemon: Daemon, world: World, program: Program
) -> None:
    for name in ("one", "two"):
        world.add_oauth(name)
    assert program.run("tools", "approve").out == "No tool waits for approval.\n"
    world.held_facts += [held("one", "push"), held("one", "pull"), held("two", "push")]
    looked = program.run("tools", "approve")
    assert looked.code == 0
    assert "one:push changed - waits" in looked.out
    assert '-  "description": "reads"' in looked.out
    assert "\x1b" not in looked.out
    assert len(world.held_facts) == 3
    assert "one:push changed - approved" in program.run("tools", "approve", "one:push").out
    assert [f"{each.server}:{each.tool}" for each in world.held_facts] == ["one:pull", "two:push"]
    assert program.run("tools", "approve", "one").code == 0
    assert program.run("tools", "approve", "one").code == 12
    assert program.run("tools", "approve", "nobody").code == 12
    assert program.run("tools", "approve", "two", "--all").code == 2
    done = program.run("tools", "approve", "--all", "-o", "json")
    assert [each["approved"] for each in json.loads(done.out)] == [True]
    assert world.held_facts == []


def test_a_quarantined_server_is_approved_elsewhere_and_that_is_said(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    assert program.run("upstream", "quarantine", "one").out == "Quarantined one.\n"
    said = program.run("tools", "approve", "one")
    assert (said.code, "mcpproxy upstream approve one" in said.err) == (12, True)


def test_tools_are_switched_by_the_daemon_or_in_the_file_without_one(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    assert program.run("tools", "disable", "one:delete_*", "one:drop").code == 0
    said = program.run("tools", "enable", "one:delete_one")
    assert said.out == "Enabled one:delete_one.\nStill disabled by: *.\n"
    assert world.done[:2] == ["disable one:delete_*", "disable one:drop"]
    assert program.run("tools", "disable", "one").code == 2
    daemon.stop()
    program.configure(WRITTEN)
    alone = program.run("tools", "disable", "one:delete_*", "-o", "json")
    assert json.loads(alone.out)[0]["pattern"] == "delete_*"
    written = (program.data_dir / "mcp_config.json").read_text()
    assert ('"delete_*"' in written, "// mine" in written) == (True, True)


def test_preflight_of_a_profile_and_without_a_daemon(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    world.control = Control(profiles={"p": Profile("p", frozenset({"one"}))})
    ran = program.run("tools", "preflight", "--profile", "p", "-o", "json")
    assert (ran.code, json.loads(ran.out)[0]["name"]) == (0, "one")
    assert program.run("tools", "preflight", "--profile", "q").code == 12
    assert program.run("tools", "preflight").code == 2
    daemon.stop()
    program.configure(WRITTEN)
    ran = program.run("tools", "preflight", "one:get", "one", "nobody__x", "-o", "json")
    assert [each["exit_code"] for each in json.loads(ran.out)] == [10, 10, 12]


def test_the_log_of_calls_is_listed_and_exported(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.records += [
        CallRecord(
            number, NOW, "one", tool, "ok", timedelta(milliseconds=2), "owner", "c 1", "r", 1, 2
        )
        for number, tool in ((1, "get"), (2, "set\x1b"))
    ]
    lines = program.run("activity", "list").out.splitlines()
    assert lines[0].split() == [
        "TIME",
        "SERVER",
        "METHOD",
        "NAME",
        "OUTCOME",
        "MS",
        "CLIENT",
        "REQUEST",
    ]
    assert ("set\\x1b" in lines[1], " get " in lines[2]) == (True, True)
    found = json.loads(program.run("activity", "list", "--server", "one", "-o", "json").out)
    assert [each["number"] for each in found] == [2, 1]
    assert program.run("activity", "list", "--since", "soon").code == 2
    exported = program.run("activity", "export").out.splitlines()
    assert [json.loads(line)["number"] for line in exported] == [1, 2]
    table = program.run("activity", "export", "--format", "csv").out.splitlines()
    assert table[0].startswith("number,at,server,tool")
    assert "\x1b" not in "".join(table)


def test_without_a_daemon_the_log_is_read_and_left_as_it_is(program: Program) -> None:
    program.configure(WRITTEN)
    file = ActivityFile(program.data_dir / FILE)
    at = microseconds(NOW)
    file.add([(at, "one", "get", "ok", 2000, "owner", "c 1", "r", 1, 2, None, "tools/call")])
    file.close()
    before = (program.data_dir / FILE).read_bytes()
    ran = program.run("activity", "list", "--server", "one", "-o", "json")
    assert (ran.code, json.loads(ran.out)[0]["tool"]) == (0, "get")
    assert "no daemon runs" in ran.err
    assert program.run("activity", "list", "--since", "soon").code == 2
    assert (program.data_dir / FILE).read_bytes() == before
    assert {path.name for path in program.data_dir.iterdir()} == {FILE, "mcp_config.json"}


def test_names_are_completed_and_nothing_goes_wrong_without_a_daemon(
    daemon: Daemon, world: World, program: Program
) -> None:
    world.add_oauth("one")
    world.control = Control(profiles={"reading": Profile("reading")})
    world.held_facts.append(held("one", "push"))

    def completed(words: str) -> list[str]:
        env = {
            "_MCPPROXY_COMPLETE": "bash_complete",
            "COMP_WORDS": f"mcpproxy {words}",
            "COMP_CWORD": str(len(words.split())),
        }
        ran = program.run(env=env)
        assert ran.code == 0
        return [line.partition(",")[2] for line in ran.out.split()]

    assert completed("upstream inspect o") == ["one"]
    assert completed("tools disable o") == ["one:"]
    assert completed("tools disable one:e") == ["one:echo"]
    assert completed("tools approve one:p") == ["one:push"]
    assert completed("stdio --profile r") == ["reading"]
    daemon.stop()
    assert completed("upstream inspect o") == []
