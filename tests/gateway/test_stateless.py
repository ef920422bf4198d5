"""What the stateless era wants besides: headers that agree with arguments, and its own errors."""

import json
from typing import Any

import pytest

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.stamping import stamped, translated
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.by_hand import META, MODERN, Peer, a_peer, a_site, modern
from tests.gateway.hostile import Scripted, Seen
from tests.gateway.world import until

pytestmark = pytest.mark.anyio
SERVER = "io.modelcontextprotocol/serverInfo"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
URLS = [
    {"mode": "url", "elicitationId": "e-1", "url": "https://x.test/1", "message": "Connect"},
    {"mode": "url", "elicitationId": "e-2", "url": "https://x.test/2", "message": "Pay"},
]
ANNOTATED = {
    "name": "query",
    "inputSchema": {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "rows": {"type": "integer", "x-mcp-header": "Rows"},
            "sql": {"type": "string"},
        },
    },
}


async def called(peer: Peer, arguments: Any, **headers: str) -> Any:
    message, sent = modern("tools/call", name="up__query", arguments=arguments)
    return await peer.post(message, **{**sent, "Mcp-Name": "up__query", **headers})


@pytest.mark.parametrize("name", ["Mcp-Name", "Mcp-Method", "MCP-Protocol-Version"])
async def test_a_header_that_stands_there_twice_is_refused(name: str) -> None:
    async with a_site() as site, a_peer(site) as peer:
        message, sent = modern("tools/call", name="up__echo", arguments={"text": "x"})
        headers = [*peer.headers.items(), *sent.items(), ("Mcp-Name", "up__echo")]
        body = json.dumps(message).encode()
        answer = await peer.http.post(peer.url, content=body, headers=headers)
        assert answer.status_code == 200
        twice = [(name, "other"), *headers]
        answer = await peer.http.post(peer.url, content=body, headers=twice)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize(
    ("arguments", "headers", "status"),
    [
        ({"region": "eu"}, {"Mcp-Param-Region": "eu"}, 200),
        ({"region": "eu", "sql": "x"}, {"mcp-param-region": "eu"}, 200),
        ({"region": "ü"}, {"Mcp-Param-Region": "=?base64?w7w=?="}, 200),
        ({"rows": 42}, {"Mcp-Param-Rows": "42.0"}, 200),
        ({"region": None}, {}, 200),
        ({"sql": "x"}, {"Mcp-Param-Other": "eu"}, 200),
        ({"region": "eu"}, {"Mcp-Param-Region": "us"}, 400),
        ({"region": "eu"}, {}, 400),
        ({}, {"Mcp-Param-Region": "eu"}, 400),
        ({"region": "eu"}, {"Mcp-Param-Region": "=?base64?!?="}, 400),
        ({"region": "eu"}, {"X-Mcpproxy-Stdio": "1"}, 200),
        ({"region": "eu"}, {"X-Mcpproxy-Stdio": "1", "Mcp-Param-Region": "us"}, 400),
    ],
)
async def test_an_argument_and_the_header_that_repeats_it_agree_or_the_call_is_refused(
    arguments: Any, headers: dict[str, str], status: int
) -> None:
    server = Scripted(tools=[ANNOTATED])
    async with a_site(server) as site, a_peer(site) as peer:
        answer = await called(peer, arguments, **headers)
        assert answer.status_code == status, answer.text
        if status == 400:
            assert answer.json()["error"]["code"] == -32020
            assert server.count("tools/call") == 0


def failing(code: int, data: Any = None) -> Scripted:
    error = {"code": code, "message": "no", **({} if data is None else {"data": data})}

    async def answer(seen: Seen) -> Any:
        told = seen.method in ("tools/call", "resources/read") and not server.quiet
        return {"error": error} if told else None

    class Failing(Scripted):
        quiet = False

    server = Failing(answer)
    return server


async def test_a_missing_resource_is_missing_as_each_era_says_it() -> None:
    async with a_site(failing(-32002, {"uri": "x://y"})) as site, a_peer(site, "/s/up") as peer:
        message, headers = modern("resources/read", uri="x://y")
        answer = (await peer.post(message, **headers, **{"Mcp-Name": "x://y"})).json()
        assert answer["error"] == {"code": -32602, "message": "no", "data": {"uri": "x://y"}}
        await peer.begin()
        read = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "x://y"}}
        assert (await peer.post(read)).json()["error"]["code"] == -32002


async def test_an_upstream_that_needs_addresses_opened_asks_for_it_in_the_clients_words() -> None:
    server = failing(-32042, {"elicitations": URLS})
    async with a_site(server) as site, a_peer(site) as peer:
        call, headers = modern("tools/call", name="up__echo", arguments={"n": 1})
        headers["Mcp-Name"] = "up__echo"
        able = {**META, CAPABILITIES: {"elicitation": {"url": {}}}}
        call["params"]["_meta"] = able
        wanted = (await peer.post(call, **headers)).json()["result"]
        assert wanted["resultType"] == "input_required"
        assert [each["params"] for each in wanted["inputRequests"].values()] == URLS
        server.quiet = True  # type: ignore[attr-defined]
        accepted = {key: {"action": "accept"} for key in wanted["inputRequests"]}
        more = {"requestState": wanted["requestState"], "inputResponses": accepted}
        call["params"].update(more)
        answer = (await peer.post(call, **headers)).json()
        assert answer["result"]["content"][0]["text"] == '{"n": 1}'
        last = [seen for seen in server.seen if seen.method == "tools/call"][-1]
        assert not {"requestState", "inputResponses"} & last.message["params"].keys()


async def test_a_client_that_cannot_open_addresses_is_told_what_is_missing() -> None:
    async with a_site(failing(-32042, {"elicitations": URLS})) as site, a_peer(site) as peer:
        call, headers = modern("tools/call", name="up__echo", arguments={})
        answer = await peer.post(call, **headers, **{"Mcp-Name": "up__echo"})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == -32021
        needed: dict[str, Any] = {"requiredCapabilities": {"elicitation": {"url": {}}}}
        assert answer.json()["error"]["data"] == needed
        await peer.begin()
        old = {"name": "up__echo", "arguments": {}}
        told = await peer.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": old})
        assert told.json()["error"]["code"] == -32042


@pytest.mark.parametrize(
    "params", [[], {"_meta": []}, {"_meta": {**META, CAPABILITIES: 3}}, {"_meta": 1}]
)
async def test_a_request_that_is_malformed_is_refused_and_breaks_nothing(params: Any) -> None:
    async with a_site() as site, a_peer(site) as peer:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}
        answer = await peer.post(message, **headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == -32602
        good, headers = modern("tools/list")
        assert (await peer.post(good, **headers)).status_code == 200


async def test_many_requests_side_by_side_leave_no_watcher_behind() -> None:
    server = Scripted()
    async with a_site(server) as site, a_peer(site) as peer:
        for number in range(30):
            call, headers = modern("tools/call", name="up__echo", arguments={"n": number})
            answer = await peer.post(call, **headers, **{"Mcp-Name": "up__echo"})
            assert answer.json()["result"]["resultType"] == "complete"
        await until(lambda: len(site.gateway._down.lot) == 0)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_there_are_no_streams_and_no_sessions_to_end(method: str) -> None:
    async with a_site() as site, a_peer(site) as peer:
        headers = {**peer.headers, "MCP-Protocol-Version": MODERN}
        answer = await peer.http.request(method, peer.url, headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# --- stamps ---------------------------------------------------------------------------------------


INFO = jsonrpc.raw({"name": "s"})


@pytest.mark.parametrize(
    ("result", "stamps"),
    [
        (b"{}", {"resultType": "complete", "_meta": {SERVER: {"name": "s"}}}),
        (
            b' { "a" : 1.50 }',
            {"resultType": "complete", "_meta": {SERVER: {"name": "s"}}, "a": 1.5},
        ),
        (
            b'{"_meta":{"k":1}}',
            {"resultType": "complete", "_meta": {"k": 1, SERVER: {"name": "s"}}},
        ),
        (
            b'{"content":[{"text":"\\"resultType\\""}],"resultType":"input_required"}',
            {
                "content": [{"text": '"resultType"'}],
                "resultType": "input_required",
                "_meta": {SERVER: {"name": "s"}},
            },
        ),
        (
            b'{"structuredContent":{"resultType":1}}',
            {
                "structuredContent": {"resultType": 1},
                "resultType": "complete",
                "_meta": {SERVER: {"name": "s"}},
            },
        ),
        (
            b'{"\\u005fmeta":{"k":1}}',
            {"_meta": {"k": 1, SERVER: {"name": "s"}}, "resultType": "complete"},
        ),
    ],
)
def test_an_answer_gets_its_stamps_once_and_nothing_else_changes(
    result: bytes, stamps: dict[str, Any]
) -> None:
    answer = stamped(jsonrpc.result(result), "tools/call", INFO)
    assert json.loads(bytes(answer["result"])) == stamps
    if b"1.50" in result:
        assert b"1.50" in bytes(answer["result"])


@pytest.mark.parametrize("result", [b"[1]", b'"abc"', b"5", b"null", b"[]"])
def test_a_result_that_is_no_object_is_an_error_and_not_half_of_one(result: bytes) -> None:
    with pytest.raises(ProtocolError, match="object"):
        stamped(jsonrpc.result(result), "tools/call", INFO)


@pytest.mark.parametrize("path", ["", "/s/up"])
async def test_clients_of_both_eras_hear_the_same_of_a_result_that_is_no_object(path: str) -> None:
    async def answer(seen: Seen) -> Any:
        return {"result": [1]} if seen.method == "tools/call" else None

    async with a_site(Scripted(answer)) as site, a_peer(site, path) as peer:
        name = "echo" if path else "up__echo"
        call, headers = modern("tools/call", name=name, arguments={})
        newer = (await peer.post(call, **headers, **{"Mcp-Name": name})).json()["error"]
        await peer.begin()
        del call["params"]["_meta"]
        assert (await peer.post(call)).json()["error"] == newer
        assert "an object was expected" in newer["message"]


def test_what_a_list_says_of_its_own_age_is_kept() -> None:
    said = jsonrpc.result(b'{"tools":[],"ttlMs":5,"cacheScope":"public"}')
    kept = json.loads(bytes(stamped(said, "tools/list", None)["result"]))
    assert (kept["ttlMs"], kept["cacheScope"]) == (5, "public")
    bare = json.loads(bytes(stamped(jsonrpc.result(b'{"tools":[]}'), "tools/list", None)["result"]))
    assert (bare["ttlMs"], bare["cacheScope"]) == (0, "private")


@pytest.mark.parametrize("data", [None, {}, {"elicitations": 1}, {"elicitations": []}, "x"])
def test_addresses_that_cannot_be_read_leave_the_error_as_it_is(data: Any) -> None:
    error = jsonrpc.error(-32042, "open", data if isinstance(data, dict) else None)
    able = jsonrpc.members(b'{"elicitation":{"url":{}}}')
    assert translated(error, "tools/call", able) is error
