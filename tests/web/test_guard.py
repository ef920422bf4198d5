"""The door, from outside: a real server, raw requests."""

import contextlib
import http.client
import json
import os
import socket
import stat

import pytest
from starlette.routing import Route

from mcpproxy.web.application import routes
from mcpproxy.web.peers import MAX_HEAD, PeerCheckedProtocol
from tests.web.daemon import Daemon
from tests.web.stubs import KEY, World, web_parts

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
OPEN = {"/healthz", "/livez", "/readyz", "/metrics"}


def paths() -> list[str]:
    found = {route.path for route in routes(web_parts(World())) if isinstance(route, Route)}
    concrete = {path.replace("{name}", "github-mcp").replace("{flow_id}", "f") for path in found}
    return sorted((concrete | {"/mcp", "/mcp/s/github-mcp", "/mcp/all", "/nothing"}) - OPEN)


@pytest.mark.parametrize("key", [None, "wrong", "", KEY + "x", KEY[:-1]])
def test_every_route_and_method_is_refused_without_the_key(daemon: Daemon, key: str | None) -> None:
    tried = 0
    for path in paths():
        for method in METHODS:
            reply = daemon.request(method, path, key=key)
            assert reply.status in (401, 403, 404), (method, path, reply)
            tried += 1
    assert tried > 100
    assert daemon.world.done == []


@pytest.mark.parametrize(
    "variant",
    [
        "/api/v1/servers/",
        "//api/v1/servers",
        "/API/V1/SERVERS",
        "/api/v1/%2e%2e/v1/servers",
        "/healthz/../api/v1/servers",
        "/healthz%2f..%2fapi/v1/servers",
        "/metrics/",
        "/healthz/",
        "/api/v1/servers?apikey=" + KEY,
        "/events?token=" + KEY,
        "@evil/api/v1/servers",
    ],
)
def test_no_spelling_of_a_path_gets_around_the_key(daemon: Daemon, variant: str) -> None:
    request = f"GET {variant} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = daemon.raw(request.encode())
    assert answer.split(b" ", 2)[1] in (b"400", b"401", b"404"), answer
    assert b"github-mcp" not in answer


def test_a_key_in_the_url_is_refused_with_a_reason(daemon: Daemon) -> None:
    reply = daemon.request("GET", f"/api/v1/servers?apikey={KEY}", key=None)
    assert (reply.status, reply.json["code"]) == (401, "key_in_url")
    assert KEY not in reply.body.decode()


def test_the_key_is_taken_as_a_header_or_as_a_bearer(daemon: Daemon) -> None:
    assert daemon.request("GET", "/api/v1/servers").status == 200
    bearer = {"Authorization": f"Bearer {KEY}"}
    assert daemon.request("GET", "/api/v1/servers", headers=bearer, key=None).status == 200
    basic = {"Authorization": f"Basic {KEY}"}
    assert daemon.request("GET", "/api/v1/servers", headers=basic, key=None).status == 401


def test_two_keys_at_once_are_refused(daemon: Daemon) -> None:
    both = {"Authorization": f"Bearer {KEY}"}
    assert daemon.request("GET", "/api/v1/servers", headers=both).status == 401


def test_the_refusal_starts_no_oauth_in_a_client(daemon: Daemon) -> None:
    reply = daemon.request("POST", "/mcp", {"jsonrpc": "2.0"}, key=None)
    assert reply.status == 401
    assert "www-authenticate" not in reply.headers
    assert reply.json["success"] is False
    assert "X-API-Key" in reply.json["next_step"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "evil.com:8080",
        "localhost.",
        "x/health?",
        "localhost@evil.com",
        "0.0.0.0",
        "192.168.1.5",
        "[::2]",
        "2130706433",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/servers", "/mcp", "/healthz", "/metrics"])
def test_a_foreign_host_is_refused_even_with_the_key(daemon: Daemon, host: str, path: str) -> None:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n"
    )
    assert daemon.raw(request.encode()).split(b" ", 2)[1] in (b"400", b"421")


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: evil.com\r\n"])
def test_exactly_one_host_header_is_wanted(daemon: Daemon, hosts: str) -> None:
    request = (
        f"GET /api/v1/servers HTTP/1.1\r\n{hosts}X-API-Key: {KEY}\r\nConnection: close\r\n\r\n"
    )
    assert daemon.raw(request.encode()).split(b" ", 2)[1] == b"400"


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:9999", "[::1]", "LOCALHOST:1", "127.8.8.8"]
)
def test_loopback_hosts_are_ours_on_any_port(daemon: Daemon, host: str) -> None:
    assert daemon.request("GET", "/api/v1/servers", host=host).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.com",
        "null",
        "http://localhost:3000",
        "http://127.0.0.1",
        "file://",
        "",
        "x",
        "http://[",
        "http://[::1",
        "//",
        "http://127.0.0.1:99999999",
    ],
)
def test_a_foreign_origin_is_refused_even_with_the_key(daemon: Daemon, origin: str) -> None:
    reply = daemon.request("GET", "/api/v1/servers", headers={"Origin": origin})
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.headers


def test_a_broken_origin_is_refused_before_anything_else(daemon: Daemon) -> None:
    for path in ("/healthz", "/mcp", "/api/v1/servers"):
        reply = daemon.request("GET", path, headers={"Origin": "http://["}, key=None)
        assert (reply.status, reply.json["code"]) == (403, "foreign_origin")


def test_a_key_that_is_no_ascii_is_a_wrong_key(daemon: Daemon) -> None:
    for header in ({"X-API-Key": "k\xe9y"}, {"Authorization": "Bearer k\xe9y"}):
        assert daemon.request("GET", "/api/v1/servers", headers=header, key=None).status == 401


def test_our_own_origin_is_served(daemon: Daemon) -> None:
    origin = {"Origin": f"http://127.0.0.1:{daemon.port}"}
    assert daemon.request("GET", "/api/v1/servers", headers=origin).status == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)]
)
def test_requests_that_other_pages_make_are_refused(daemon: Daemon, site: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": site}
    assert daemon.request("GET", "/api/v1/servers", headers=headers).status == status


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]
)
def test_a_body_that_is_not_json_is_refused(daemon: Daemon, kind: str) -> None:
    for path in ("/api/v1/servers", "/mcp"):
        reply = daemon.request("POST", path, {"name": "x"}, headers={"Content-Type": kind})
        assert reply.status == 415


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "X-Original-URL", "X-HTTP-Method-Override"]
)
def test_headers_of_proxies_give_no_privilege(daemon: Daemon, header: str) -> None:
    reply = daemon.request("GET", "/api/v1/servers", headers={header: "127.0.0.1"}, key=None)
    assert reply.status == 401


def test_metrics_are_open_on_loopback_but_not_through_a_proxy(daemon: Daemon) -> None:
    assert daemon.request("GET", "/metrics", key=None).status == 200
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    assert daemon.request("GET", "/metrics", headers=forwarded, key=None).status == 401


def test_probes_need_no_key_and_disclose_nothing(daemon: Daemon) -> None:
    assert daemon.request("GET", "/healthz", key=None).json == {"status": "ok"}
    assert daemon.request("GET", "/livez", key=None).json == {"status": "ok"}
    assert daemon.request("GET", "/readyz", key=None).json == {"ready": True}
    daemon.world.is_ready = False
    reply = daemon.request("GET", "/readyz", key=None)
    assert (reply.status, reply.json) == (503, {"ready": False})


def test_the_mcp_endpoint_may_be_opened_by_configuration_and_nothing_else(world: World) -> None:
    with Daemon(world, require_mcp_auth=False) as daemon:
        assert daemon.request("POST", "/mcp", {}, key=None).status == 200
        assert daemon.request("POST", "/mcp/s/github-mcp", {}, key=None).status == 200
        assert daemon.request("GET", "/mcpx", key=None).status == 401
        assert daemon.request("GET", "/api/v1/servers", key=None).status == 401
        assert daemon.request("POST", "/mcp", {}, key=None, host="evil.com").status == 421


def test_a_connection_that_never_finishes_asking_is_closed(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeerCheckedProtocol, "head_timeout", 0.2)
    answered = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal"
    for beginning in (b"", b"GET / HTTP/1.1\r\nHost: local", answered):
        daemon.raw(beginning)  # returns at the end of the connection, or fails by its timeout


@pytest.mark.parametrize(
    "beginning",
    [b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"GET /",
     b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX-A: "],
)  # fmt: skip
def test_a_head_without_end_is_cut_off(daemon: Daemon, beginning: bytes) -> None:
    taken = 0
    peer = socket.create_connection(("127.0.0.1", daemon.port), timeout=20)
    with peer, contextlib.suppress(ConnectionError):
        peer.sendall(beginning)
        while taken < 64 * MAX_HEAD:
            taken += peer.send(b"a" * 16384)
    assert taken < 64 * MAX_HEAD


def test_a_large_body_is_no_head(daemon: Daemon) -> None:
    body = json.dumps({"name": "big", "command": "x", "args": ["a" * (8 * MAX_HEAD)]}).encode()
    assert daemon.request("POST", "/api/v1/servers", body).status == 201
    head = f"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    pipelined = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert daemon.raw(pipelined * 2 + last).count(b"HTTP/1.1 ") == 3


def test_more_connections_than_are_taken_are_closed_and_the_others_go_on(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeerCheckedProtocol, "max_connections", 4)
    with contextlib.ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=20))
            for _ in range(5)
        ]
        with contextlib.suppress(ConnectionError):
            assert peers[4].recv(1) == b""
        peers[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert peers[0].recv(12) == b"HTTP/1.1 200"


def test_a_request_id_is_honoured_when_it_is_harmless(daemon: Daemon) -> None:
    good = daemon.request("GET", "/nothing", headers={"X-Request-Id": "abc_1-2"})
    assert good.headers["x-request-id"] == good.json["request_id"] == "abc_1-2"
    for bad in ("a b", "<script>", "x" * 257, ""):
        reply = daemon.request("GET", "/nothing", headers={"X-Request-Id": bad})
        assert reply.json["request_id"] not in (bad, "")
        assert len(reply.json["request_id"]) == 32


def test_the_unix_socket_is_ours_alone_and_needs_no_key(daemon: Daemon) -> None:
    path = daemon.unix_socket
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.fspath(path))
    connection.request("GET", "/api/v1/servers")
    assert connection.getresponse().status == 200
    connection.close()
