"""REST about tools and calls: switched, approved, checked before a run, logged."""

import csv
import io
import json
from datetime import timedelta

import pytest

from mcpproxy.core.activity import CallRecord
from mcpproxy.core.approvals import Held, HeldTool, Standing
from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.control import Control, Profile, Tier
from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import ItemAsked, ToolCalled
from tests.web.daemon import Daemon
from tests.web.stubs import NOW, World

DIGEST = "d" * 64


def held(tool: str = "push", reason: Held = Held.CHANGED) -> HeldTool:
    before = b'{"description":"reads","name":"push"}' if reason is Held.CHANGED else b""
    now = b'{"description":"reads\\u202e and sends","name":"push"}'
    return HeldTool("github-mcp", tool, reason, DIGEST, before, now)


def record(number: int, **more: str) -> CallRecord:
    said = {"server": "github-mcp", "tool": "get", "outcome": "ok", **more}
    return CallRecord(
        number=number,
        at=NOW + timedelta(milliseconds=number),
        duration=timedelta(microseconds=1500),
        caller="owner",
        client="claude 1",
        request_id=f"r-{number}",
        bytes_in=1,
        bytes_out=2,
        **said,
    )


def codes(daemon: Daemon, **asked: object) -> list[tuple[str, int, str]]:
    answer = daemon.request("POST", "/api/v1/preflight", asked).json["data"]
    return [(each["name"], each["exit_code"], each["action"]) for each in answer["verdicts"]]


def test_tools_are_switched_by_pattern_and_a_remark_is_passed_on(
    daemon: Daemon, world: World
) -> None:
    path = "/api/v1/servers/github-mcp/tools"
    off = daemon.request("POST", f"{path}/disable", {"pattern": "delete_*"})
    assert off.json["data"] == {
        "server": "github-mcp",
        "pattern": "delete_*",
        "action": "disable",
        "note": None,
    }
    on = daemon.request("POST", f"{path}/enable", {"pattern": "delete_one"})
    assert on.json["data"]["note"] == "Still disabled by: *."
    assert world.done == ["disable github-mcp:delete_*", "enable github-mcp:delete_one"]
    assert daemon.request("POST", f"{path}/enable", {"pattern": ""}).status == 400
    assert daemon.request("POST", "/api/v1/servers/x/tools/enable", {"pattern": "a"}).status == 404


def test_what_waits_is_shown_with_what_changed(daemon: Daemon, world: World) -> None:
    world.held_facts += [held(), held("new", Held.NEW)]
    changed, new = daemon.request("GET", "/api/v1/tools/held").json["data"]["tools"]
    assert '-  "description": "reads",' in changed["diff"]
    assert '+  "description": "reads\u202e and sends",' in changed["diff"]
    assert (changed["reason"], new["reason"]) == ("changed", "new")
    assert not any(line.startswith("-") for line in new["diff"][2:])
    assert daemon.request("GET", "/api/v1/tools/held?server=nobody").status == 404
    assert daemon.request("GET", "/api/v1/tools/held?server=files").json["data"]["tools"] == []


def test_an_approval_names_the_definition_that_was_looked_at(daemon: Daemon, world: World) -> None:
    world.held_facts.append(held())
    one = {"server": "github-mcp", "tool": "push", "digest": DIGEST}

    def approve(*tools: object) -> int:
        return daemon.request("POST", "/api/v1/tools/approve", {"tools": list(tools)}).status

    assert approve({**one, "digest": "e" * 64}) == 503
    assert approve({**one, "tool": "pull"}) == 404
    assert approve({**one, "server": "nobody"}) == 404
    assert approve() == 400
    assert len(world.held_facts) == 1
    assert approve(one) == 200
    assert world.held_facts == []


def test_a_server_can_be_put_back_into_quarantine(daemon: Daemon, world: World) -> None:
    assert daemon.request("POST", "/api/v1/servers/files/quarantine").status == 200
    assert world.servers["files"].quarantined
    assert codes(daemon, names=["files"]) == [("files", 11, "approve")]


@pytest.mark.parametrize(
    ("standing", "code", "action"),
    [
        (Standing.OFFERED, 0, ""),
        (Standing.HELD_NEW, 11, "approve"),
        (Standing.HELD_CHANGED, 11, "approve"),
        (Standing.DISABLED, 11, "enable"),
        (Standing.HIDDEN, 11, "view_logs"),
        (Standing.ABSENT, 12, ""),
        (Standing.UNKNOWN, 10, ""),
    ],
)
def test_preflight_says_of_each_tool_whether_it_is_there(
    daemon: Daemon, world: World, standing: Standing, code: int, action: str
) -> None:
    world.standings["github-mcp", "get"] = standing
    assert codes(daemon, names=["github-mcp:get", "github-mcp__get"]) == [
        ("github-mcp:get", code, action),
        ("github-mcp__get", code, action),
    ]


def test_preflight_says_of_each_server_who_has_to_act(daemon: Daemon, world: World) -> None:
    world.servers["soon"] = Upstream("soon", url="https://soon.example/mcp")
    world.connection_facts["soon"] = Connection(ConnectionState.CONNECTING)
    world.servers["login"] = Upstream("login", url="https://login.example/mcp")
    world.connection_facts["login"] = Connection(
        ConnectionState.ERROR, trouble=Trouble.LOGIN_NEEDED
    )
    world.connection_facts["github-mcp"] = Connection(ConnectionState.CONNECTED, 5, held=2)
    world.standings["login", "get"] = Standing.OFFERED
    names = ["github-mcp", "soon", "login", "login:get", "held", "nobody", "nobody:get"]
    assert codes(daemon, names=names) == [
        ("github-mcp", 0, ""),
        ("soon", 10, ""),
        ("login", 11, "login"),
        ("login:get", 11, "login"),
        ("held", 11, "approve"),
        ("nobody", 12, ""),
        ("nobody:get", 12, ""),
    ]
    whole = daemon.request("POST", "/api/v1/preflight", {"names": names}).json["data"]
    assert whole["exit_code"] == 12


def test_preflight_of_a_profile_is_of_all_that_it_names(daemon: Daemon, world: World) -> None:
    profile = Profile("p", frozenset({"github-mcp", "gone"}), ("github-mcp:get", "github-mcp:a*"))
    world.control = Control(profiles={"p": profile})
    world.standings["github-mcp", "get"] = Standing.OFFERED
    world.standings["github-mcp", "other"] = Standing.OFFERED
    assert codes(daemon, profile="p") == [
        ("github-mcp", 0, ""),
        ("gone", 12, ""),
        ("github-mcp:get", 0, ""),
    ]
    assert codes(daemon, profile="p", names=["github-mcp:other", "files"]) == [
        ("github-mcp:other", 11, "configure"),
        ("files", 11, "configure"),
    ]
    assert daemon.request("POST", "/api/v1/preflight", {"profile": "q"}).status == 404
    assert daemon.request("POST", "/api/v1/preflight", {}).status == 400
    (shown,) = daemon.request("GET", "/api/v1/profiles").json["data"]["profiles"]
    assert (shown["path"], shown["servers"]) == ("/mcp/p/p", ["github-mcp", "gone"])


def test_preflight_at_a_profile_knows_how_much_its_tools_may_do(
    daemon: Daemon, world: World
) -> None:
    profile = Profile("ro", allow=("github-mcp:get", "github-mcp:del"), max_tier=Tier.READ)
    world.control = Control(profiles={"ro": profile})
    world.standings |= {("github-mcp", tool): Standing.OFFERED for tool in ("get", "del")}
    world.strong.add(("github-mcp", "del"))
    assert codes(daemon, profile="ro", names=["github-mcp:get", "github-mcp:del"]) == [
        ("github-mcp:get", 0, ""),
        ("github-mcp:del", 11, "configure"),
    ]
    whole = daemon.request("POST", "/api/v1/preflight", {"profile": "ro"}).json["data"]
    assert whole["exit_code"] == 11


def test_calls_are_listed_newest_first_with_milliseconds(daemon: Daemon, world: World) -> None:
    world.records += [record(1), record(2, server="files")]
    second, first = daemon.request("GET", "/api/v1/activity").json["data"]["calls"]
    assert (second["server"], first["server"]) == ("files", "github-mcp")
    assert (first["at"], first["duration_ms"]) == ("2026-01-12T14:05:00.001Z", 1.5)
    one = daemon.request("GET", "/api/v1/activity?server=files&limit=1").json["data"]["calls"]
    assert [each["number"] for each in one] == [2]
    for wrong in ("since=yesterday", "limit=0", "outcome=fine"):
        assert daemon.request("GET", f"/api/v1/activity?{wrong}").status == 400
    assert daemon.request("GET", "/api/v1/activity?since=2026-01-12T14:05:00%2B01:00").status == 200


def test_calls_are_exported_as_json_lines_and_as_a_table_that_computes_nothing(
    daemon: Daemon, world: World
) -> None:
    world.records += [record(1), record(2, tool="=HYPERLINK(1)")]
    lines = daemon.request("GET", "/api/v1/activity/export").body.decode().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2]
    text = daemon.request("GET", "/api/v1/activity/export?format=csv").body.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["tool"] for row in rows] == ["get", "'=HYPERLINK(1)"]
    assert rows[0]["arguments"] == ""


def test_calls_are_watched_as_they_happen_until_the_daemon_stops(
    daemon: Daemon, world: World
) -> None:
    import http.client

    world.records.append(record(1))
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    path = "/api/v1/activity?follow=true&server=github-mcp"
    connection.request("GET", path, headers={"X-API-Key": "the-api-key-of-these-tests"})
    answer = connection.getresponse()
    assert json.loads(answer.readline())["number"] == 1
    took = timedelta(milliseconds=3)
    for server in ("files", "github-mcp"):
        told = ToolCalled(server, "push", "ok", took, "owner", "claude 1", "r-9", 1, 2, b"{}")
        daemon.call(lambda told=told: daemon.parts.bus.publish(told))  # type: ignore[misc]
    happened = json.loads(answer.readline())
    assert (happened["server"], happened["request_id"]) == ("github-mcp", "r-9")
    assert (happened["arguments"], happened["method"]) == (None, "tools/call")
    asked = ItemAsked("github-mcp", "file:///x", "ok", took, "resources/read")
    daemon.call(lambda: daemon.parts.bus.publish(asked))
    happened = json.loads(answer.readline())
    assert (happened["tool"], happened["method"]) == ("file:///x", "resources/read")
    daemon.stop()
    assert answer.read() == b""
    connection.close()


def test_arguments_do_not_go_out_as_events(daemon: Daemon) -> None:
    from mcpproxy.web.events import payload

    shown = payload(ToolCalled("s", "t", "ok", timedelta(0), arguments=b"canary"))
    assert "arguments" not in shown
    assert shown["bytes_in"] == 0
