"""The REST API from outside: fields, actions, errors, and not one secret."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.errors import StoreCorrupt, StoreError, WrongKey
from mcpproxy.core.model import FailureKind, FailureRun, RefreshFailure, Refusals
from tests.web.daemon import Daemon
from tests.web.stubs import ACCESS_CANARY, CLIENT_CANARY, KEY, NOW, REFRESH_CANARY, World


def test_the_server_list_has_the_fields_that_scripts_rely_on(daemon: Daemon) -> None:
    reply = daemon.request("GET", "/api/v1/servers")
    assert reply.json["success"] is True
    servers = {each["name"]: each for each in reply.json["data"]["servers"]}
    assert list(servers) == ["files", "github-mcp", "held"]
    github = servers["github-mcp"]
    assert github["url"] == "https://github-mcp.example/mcp"
    assert (github["protocol"], github["enabled"], github["status"]) == ("http", True, "connected")
    assert (github["connected"], github["tool_count"], github["last_error"]) == (True, 5, None)
    assert github["oauth"] == {
        "authenticated": True,
        "token_valid": True,
        "client_id": "client-1",
        "scopes": ["mcp", "offline_access"],
        "issuer": "https://provider.example",
        "logged_in_at": "2026-01-12T14:05:00Z",
        "token_expires_at": "2026-01-12T15:05:00Z",
        "last_refresh_at": None,
        "last_attempt_at": None,
        "next_refresh_at": "2026-01-12T14:53:00Z",
        "ends_at": None,
        "ends_because": None,
        "grant_type": "authorization_code",
        "provider": {
            "profile": None,
            "rotates": None,
            "usual_life_seconds": None,
            "note": None,
        },
        "generation": 1,
        "refresh_count": 0,
        "failure": None,
        "ended": None,
        "evidence": None,
    }
    assert github["health"] == {
        "level": "healthy",
        "admin_state": "enabled",
        "summary": "Connected (5 tools)",
        "detail": "Token refresh scheduled for 2026-01-12T14:53:00Z",
        "action": "",
        "line": "Token refresh scheduled for 14:53",
        "cause": "refresh_scheduled",
    }
    assert servers["files"]["oauth"] is None
    assert servers["held"]["health"]["action"] == "approve"
    assert reply.json["data"]["stats"]["total"] == 3


def test_health_is_the_quickstarts_api_example(daemon: Daemon, world: World) -> None:
    asked = NOW.replace(second=40)
    failure = RefreshFailure(FailureKind.TRANSIENT, "connection timeout", retry_at=asked)
    run = FailureRun(2, NOW, NOW, failure)
    world.grant_facts["github-mcp"] = replace(world.grant_facts["github-mcp"], failures=run)
    health = daemon.request("GET", "/api/v1/servers/github-mcp").json["data"]["health"]
    expected = {
        "level": "degraded",
        "summary": "Token refresh pending",
        "detail": "Refresh retry 2 scheduled for 2026-01-12T14:05:40Z: connection timeout",
        "action": "view_logs",
    }
    assert expected.items() <= health.items()


def test_no_answer_ever_holds_a_secret(daemon: Daemon, world: World) -> None:
    refused = RefreshFailure(FailureKind.REFUSED, "dead", code="invalid_grant")
    world.grant_facts["github-mcp"] = replace(
        world.grant_facts["github-mcp"], refusals=Refusals(2, NOW, NOW, refused)
    )
    seen = b""
    for path in ("servers", "servers/github-mcp", "servers/github-mcp/explain",
                 "servers/github-mcp/ledger", "status",
                 "doctor", "tools", "servers/github-mcp/logs", "openapi.json"):  # fmt: skip
        reply = daemon.request("GET", f"/api/v1/{path}")
        assert reply.status == 200
        seen += reply.body
    seen += daemon.request("POST", "/api/v1/servers/github-mcp/refresh").body
    seen += daemon.request("POST", "/api/v1/servers/github-mcp/login").body
    seen += daemon.request("GET", "/metrics").body
    for canary in (ACCESS_CANARY, REFRESH_CANARY, CLIENT_CANARY, KEY):
        assert canary.encode() not in seen


def test_servers_are_added_switched_and_removed(daemon: Daemon, world: World) -> None:
    added = daemon.request("POST", "/api/v1/servers", {"name": "new", "url": "https://n.example/"})
    assert (added.status, added.json["data"]["action"]) == (201, "add")
    assert daemon.request("POST", "/api/v1/servers/new/disable").status == 200
    assert world.servers["new"].enabled is False
    assert daemon.request("POST", "/api/v1/servers/new/enable").status == 200
    assert world.servers["new"].enabled is True
    assert daemon.request("POST", "/api/v1/servers/held/approve").status == 200
    assert world.servers["held"].quarantined is False
    assert daemon.request("DELETE", "/api/v1/servers/new").status == 200
    assert "new" not in world.servers


def test_removing_a_server_says_that_its_login_is_kept(daemon: Daemon, world: World) -> None:
    note = daemon.request("DELETE", "/api/v1/servers/github-mcp").json["data"]["note"]
    assert "mcpproxy auth logout github-mcp" in note
    assert "github-mcp" in world.grant_facts
    assert daemon.request("POST", "/api/v1/servers/github-mcp/logout").status == 200
    assert "github-mcp" not in world.grant_facts


def test_a_logout_without_a_login_says_so(daemon: Daemon, world: World) -> None:
    reply = daemon.request("POST", "/api/v1/servers/files/logout")
    assert reply.json["data"]["note"] == "There was no login to forget."


@pytest.mark.parametrize("trouble", [StoreCorrupt("it is damaged"), WrongKey("it is locked")])
def test_a_stored_login_that_cannot_be_opened_is_not_said_to_be_none(
    daemon: Daemon, world: World, trouble: StoreError
) -> None:
    world.stored_trouble = trouble
    reply = daemon.request("POST", "/api/v1/servers/files/logout")
    assert (reply.status, reply.json["error"]) == (503, trouble.message)


def test_a_refused_addition_names_every_problem(daemon: Daemon) -> None:
    reply = daemon.request("POST", "/api/v1/servers", {"name": "files", "command": "x"})
    assert (reply.status, reply.json["code"]) == (400, "config_error")
    assert reply.json["problems"] == ['mcpServers: the name "files" is taken']


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "truncated"),
        (b"[]", "object"),
        (b"{}", "name"),
        (b'{"name": 5}', "$.name"),
        (b'{"name": "x", "typo": 1}', "typo"),
        (b'{"name": "x", "protocol": "carrier pigeon"}', "$.protocol"),
        (b'{"name": "' + b"x" * 64 + b'"}', "$.name"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_a_bad_body_names_the_place(daemon: Daemon, body: bytes, words: str) -> None:
    reply = daemon.request("POST", "/api/v1/servers", body)
    assert (reply.status, reply.json["code"]) == (400, "bad_request")
    assert words.lower() in reply.json["error"].lower()


def test_a_body_that_is_too_large_is_refused(daemon: Daemon) -> None:
    reply = daemon.request("POST", "/api/v1/servers", b'"' + b"x" * (4 * 1024 * 1024) + b'"')
    assert reply.status == 413


@pytest.mark.parametrize("query", ["tail=-1", "tail=x", "tail=1001", "follow=maybe"])
def test_a_bad_query_is_refused(daemon: Daemon, query: str) -> None:
    assert daemon.request("GET", f"/api/v1/servers/files/logs?{query}").status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/servers/nobody"),
        ("DELETE", "/api/v1/servers/nobody"),
        *(("POST", f"/api/v1/servers/nobody/{action}") for action in
          ("login", "logout", "restart", "enable", "disable", "approve")),
        *(("GET", f"/api/v1/servers/nobody/{what}") for what in
          ("logs", "explain", "ledger", "tools")),
        ("GET", "/api/v1/tools?server=nobody"),
    ],
)  # fmt: skip
def test_an_unknown_server_is_404_with_the_next_step(
    daemon: Daemon, method: str, path: str
) -> None:
    reply = daemon.request(method, path)
    assert (reply.status, reply.json["code"]) == (404, "unknown_server")
    assert "nobody" in reply.json["error"]
    assert reply.json["next_step"]
    assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_paths_and_methods_that_do_not_exist_say_so_in_the_envelope(daemon: Daemon) -> None:
    missing = daemon.request("GET", "/api/v1/nothing")
    assert (missing.status, missing.json["code"]) == (404, "not_found")
    wrong = daemon.request("PUT", "/api/v1/servers", {})
    assert (wrong.status, wrong.json["code"]) == (405, "method_not_allowed")


def test_get_changes_nothing(daemon: Daemon, world: World) -> None:
    before = (dict(world.servers), dict(world.grant_facts), list(world.done))
    paths = daemon.request("GET", "/api/v1/openapi.json").json["paths"]
    for path, methods in paths.items():
        if "get" in methods:
            concrete = path.replace("{name}", "github-mcp").replace("{flow_id}", "f")
            daemon.request("GET", f"{concrete}?q=x")
    assert (world.servers, world.grant_facts, world.done) == before


def test_a_login_is_begun_watched_and_finished(daemon: Daemon, world: World) -> None:
    begun = daemon.request("POST", "/api/v1/servers/github-mcp/login").json["data"]
    assert begun["auth_url"].startswith("https://provider.example/authorize?")
    assert begun["outcome"] is None
    watch = f"/api/v1/logins/{begun['flow_id']}"
    assert daemon.request("GET", watch).json["data"]["outcome"] is None
    redirect = {"redirect_url": " http://127.0.0.1:1/oauth/callback?code=c&state=s-github-mcp\n"}
    finished = daemon.request("POST", "/api/v1/logins/finish", redirect).json["data"]
    assert finished["outcome"] == "succeeded"
    assert daemon.request("GET", f"{watch}?wait=20").json["data"]["outcome"] == "succeeded"


def test_a_watcher_is_told_as_soon_as_there_is_an_outcome(daemon: Daemon, world: World) -> None:
    flow = daemon.request("POST", "/api/v1/servers/github-mcp/login").json["data"]["flow_id"]
    from threading import Timer

    def deny() -> None:
        daemon.call(lambda: world.settle("github-mcp", "denied", "login_denied", "You said no."))

    timer = Timer(0.1, deny)
    timer.start()
    seen = daemon.request("GET", f"/api/v1/logins/{flow}?wait=20").json["data"]
    timer.join()
    assert (seen["outcome"], seen["code"]) == ("denied", "login_denied")


def test_a_login_at_another_device_is_begun_with_its_code(daemon: Daemon, world: World) -> None:
    path = "/api/v1/servers/github-mcp/login"
    begun = daemon.request("POST", path, {"way": "device"}).json["data"]
    assert begun["user_code"] == "WDJB-MJHT"
    assert begun["verification_uri"] == "https://provider.example/device"
    in_browser = daemon.request("POST", path, {"way": "browser"}).json["data"]
    assert in_browser["user_code"] is None
    assert daemon.request("POST", path, {"way": "pigeon"}).status == 400


def test_a_redirect_of_no_login_is_an_error_of_its_own(daemon: Daemon) -> None:
    body = {"redirect_url": "http://127.0.0.1/?code=c&state=unknown"}
    reply = daemon.request("POST", "/api/v1/logins/finish", body)
    assert (reply.status, reply.json["code"]) == (404, "unknown_login")
    assert "unknown" not in reply.json["error"]


def test_tools_are_listed_searched_and_called_untouched(daemon: Daemon) -> None:
    tools = daemon.request("GET", "/api/v1/tools?server=files")
    assert b'"definition":{"name":"echo","x-unknown":1e400}' in tools.body
    found = daemon.request("GET", "/api/v1/tools/search?q=Says&limit=2").json["data"]["tools"]
    assert [each["server"] for each in found] == ["files", "github-mcp"]
    call = {"server": "files", "tool": "echo", "arguments": {"n": 10**30, "s": "é"}}
    reply = daemon.request("POST", "/api/v1/tools/call", call)
    assert b'"kept":12345678901234567890123' in reply.body
    text = reply.json["data"]["result"]["content"][0]["text"]
    assert json.loads(text) == call["arguments"]


def test_a_call_has_the_time_that_is_configured_unless_it_says_another(
    daemon: Daemon, world: World
) -> None:
    call = {"server": "files", "tool": "echo"}
    assert daemon.request("POST", "/api/v1/tools/call", call).status == 200
    assert daemon.request("POST", "/api/v1/tools/call", {**call, "timeout": 600}).status == 200
    assert daemon.request("POST", "/api/v1/tools/call", {**call, "timeout": 601}).status == 400
    assert world.timeouts == [None, timedelta(minutes=10)]


def test_a_call_without_arguments_is_a_call_with_none(daemon: Daemon) -> None:
    reply = daemon.request("POST", "/api/v1/tools/call", {"server": "files", "tool": "echo"})
    assert reply.json["data"]["result"]["content"][0]["text"] == "{}"


@pytest.mark.parametrize("arguments", [[], "x", 5, None])
def test_arguments_that_are_no_object_are_refused(daemon: Daemon, arguments: object) -> None:
    body = {"server": "files", "tool": "echo", "arguments": arguments}
    assert daemon.request("POST", "/api/v1/tools/call", body).status == 400


def test_an_upstreams_trouble_keeps_its_own_code(daemon: Daemon) -> None:
    reply = daemon.request("POST", "/api/v1/tools/call", {"server": "files", "tool": "gone"})
    assert (reply.status, reply.json["code"]) == (502, "upstream_unavailable")


def test_refreshing_without_a_login_asks_for_one(daemon: Daemon) -> None:
    reply = daemon.request("POST", "/api/v1/servers/files/refresh")
    assert (reply.status, reply.json["code"]) == (409, "login_required")
    assert reply.json["next_step"] == "mcpproxy auth login files"


def test_an_error_inside_tells_nothing_but_its_id(daemon: Daemon, world: World) -> None:
    def broken(_: str) -> None:
        raise RuntimeError(f"secret {REFRESH_CANARY}")

    world.restart = broken  # type: ignore[assignment,method-assign]
    reply = daemon.request("POST", "/api/v1/servers/files/restart")
    assert (reply.status, reply.json["code"]) == (500, "internal")
    assert REFRESH_CANARY.encode() not in reply.body
    assert b"RuntimeError" not in reply.body


def test_logs_are_tailed_and_followed(daemon: Daemon, world: World) -> None:
    import http.client

    world.lines["files"] = ["one", "two", "three"]
    tail = daemon.request("GET", "/api/v1/servers/files/logs?tail=2").json["data"]
    assert tail == {"server": "files", "lines": ["two", "three"]}
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    path = "/api/v1/servers/files/logs?tail=1&follow=true"
    connection.request("GET", path, headers={"X-API-Key": KEY})
    answer = connection.getresponse()
    assert answer.readline() == b"three\n"

    def write() -> None:
        world.lines["files"].append("four")
        world.line_written.set()

    daemon.call(write)
    assert answer.readline() == b"four\n"
    daemon.stop()
    assert answer.readline() == b""
    connection.close()


def test_the_openapi_document_describes_every_route(daemon: Daemon) -> None:
    document = daemon.request("GET", "/api/v1/openapi.json").json
    assert document["openapi"] == "3.1.0"
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) >= 20
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    text = json.dumps(document)
    names = set(document["components"]["schemas"])
    for reference in text.split('"#/components/schemas/')[1:]:
        assert reference.partition('"')[0] in names


def test_answers_are_as_the_document_says(daemon: Daemon) -> None:
    import jsonschema

    document = daemon.request("GET", "/api/v1/openapi.json").json
    checked = 0
    for path, methods in document["paths"].items():
        for method in methods.keys() & {"get", "post"}:
            concrete = path.replace("{name}", "github-mcp").replace("{flow_id}", "x")
            body = {} if "requestBody" in methods[method] else None
            suffix = "?q=x" if "search" in path else ""
            reply = daemon.request(method.upper(), concrete + suffix, body)
            described = methods[method]["responses"][str(reply.status)]["content"]
            if "application/json" not in described:
                continue  # what is streamed is no envelope
            schema = {
                **described["application/json"]["schema"],
                "components": document["components"],
            }
            jsonschema.Draft202012Validator(schema).validate(reply.json)
            checked += 1
    assert checked >= 20


def test_a_value_that_cannot_be_sent_is_answered_with_the_request_id(
    daemon: Daemon, world: World
) -> None:
    world.servers["files"] = replace(world.servers["files"], args=("\ud800",))
    reply = daemon.request("GET", "/api/v1/servers")
    assert (reply.status, reply.json["code"]) == (500, "internal")
    assert reply.json["request_id"]
    assert daemon.request("GET", "/api/v1/servers/github-mcp").status == 200


def test_a_body_that_is_nested_without_end_is_refused(daemon: Daemon) -> None:
    deep = b'{"name": "x", "arguments": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    for path in ("servers", "tools/call"):
        reply = daemon.request("POST", f"/api/v1/{path}", deep)
        assert (reply.status, reply.json["code"]) == (400, "bad_request")
        assert "nested" in reply.json["error"] or "unknown field" in reply.json["error"]


def test_a_login_whose_server_is_gone_is_listed_as_not_configured(
    daemon: Daemon, world: World
) -> None:
    assert daemon.request("GET", "/api/v1/servers").json["data"]["kept_logins"] == []
    del world.servers["github-mcp"]
    data = daemon.request("GET", "/api/v1/servers").json["data"]
    (kept,) = data["kept_logins"]
    assert kept["server"] == "github-mcp"
    assert kept["oauth"]["next_refresh_at"] == "2026-01-12T14:53:00Z"
    assert "github-mcp" not in [each["name"] for each in data["servers"]]


def test_a_login_that_nobody_knows_is_404(daemon: Daemon) -> None:
    watched = daemon.request("GET", "/api/v1/logins/nothing")
    assert (watched.status, watched.json["code"]) == (404, "unknown_login")
    assert watched.json["next_step"]
