"""The endpoint by raw HTTP: status codes, sessions, batches, and what breaks neither."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.limits import GatewayLimits
from tests.gateway.by_hand import (
    INITIALIZE,
    LIST,
    META,
    MODERN,
    a_peer,
    a_site,
    messages_of,
    modern,
    tool_call,
)
from tests.gateway.hostile import Raw, Scripted, Seen, event, scripted
from tests.gateway.world import running, until

pytestmark = pytest.mark.anyio


async def test_nobody_without_a_key_gets_in_and_our_401_starts_no_oauth() -> None:
    async with a_site() as site, a_peer(site) as peer:
        for method in ("GET", "POST", "DELETE", "PUT"):
            for key in ({}, {"X-API-Key": "wrong"}):
                answer = await peer.http.request(method, peer.url, headers=key)
                assert answer.status_code == 401
                assert "www-authenticate" not in answer.headers
                assert "X-API-Key" in answer.json()["error"]["message"]


async def test_an_unknown_path_server_or_method_is_refused() -> None:
    async with a_site() as site, a_peer(site) as peer:
        for path in ("/s/none", "/s/", "/other", "/s/up/more"):
            assert (await peer.http.get(site.url + path, headers=peer.headers)).status_code == 404
        assert (await peer.http.put(site.url, headers=peer.headers)).status_code == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"3", 400),
        (b"[1]", 400),
        (b"\xff\xfe", 400),
        (b'{"jsonrpc":"2.0"}', 400),
        (b'{"a":' + b"[" * 100_000, 400),
        (json.dumps(LIST).encode(), 400),
    ],
)
async def test_a_body_that_is_no_message_of_a_session_is_a_400(body: bytes, status: int) -> None:
    async with a_site() as site, a_peer(site) as peer:
        answer = await peer.post(body)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


async def test_content_types_sizes_and_versions_are_checked() -> None:
    async with a_site(limits=GatewayLimits(max_message=1000)) as site, a_peer(site) as peer:
        assert (await peer.post(INITIALIZE, **{"Content-Type": "text/plain"})).status_code == 415
        assert (await peer.post(tool_call(1, {"big": "x" * 1000}))).status_code == 413
        await peer.begin()
        odd = {"MCP-Protocol-Version": "1999-01-01"}
        assert (await peer.post(LIST, **odd)).status_code == 400


async def test_sessions_belong_to_their_caller_and_endpoint_and_end_when_deleted() -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        assert (await peer.post(LIST)).status_code == 200
        assert (await peer.post(LIST, **{"X-Caller": "mallory"})).status_code == 404
        peer.url = site.url + "/s/up"
        assert (await peer.post(LIST)).status_code == 404
        peer.url = site.url
        assert (await peer.http.delete(peer.url, headers=peer.headers)).status_code == 204
        assert (await peer.post(LIST)).status_code == 404
        assert (await peer.http.get(peer.url, headers=peer.headers)).status_code == 404


async def test_sessions_are_bounded_and_the_oldest_makes_room_until_it_is_back() -> None:
    async with a_site(limits=GatewayLimits(max_sessions=2)) as site, a_peer(site) as peer:
        await peer.begin()
        first = dict(peer.headers)
        for _ in range(3):
            del peer.headers["Mcp-Session-Id"]
            await peer.begin()
            assert len(site.gateway._down.sessions) <= 2
        assert (await peer.post(LIST)).status_code == 200
        peer.headers = first
        assert (await peer.post(LIST)).status_code == 200
        assert len(site.gateway._down.sessions) == 2


async def test_ids_come_back_as_they_were_sent() -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        for request_id in (0, -1, 2**53, 2.0, "a", "ü\n", "1"):
            answer = await peer.post(tool_call(request_id))
            assert answer.json()["id"] == request_id
            assert type(answer.json()["id"]) is type(request_id)


async def test_a_batch_is_answered_as_one() -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        answer = await peer.post([tool_call(1, {"n": 1}), note, tool_call(2), LIST | {"id": 3}])
        assert [response["id"] for response in answer.json()] == [1, 2, 3]
        assert (await peer.post([note, note])).status_code == 202


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (LIST | {"id": 1.5}, "string or an integer"),
        (LIST | {"id": -1e-3}, "string or an integer"),
        (LIST | {"id": None}, "a request, a notification"),
        ({name: value for name, value in LIST.items() if name != "jsonrpc"}, "jsonrpc"),
        (LIST | {"jsonrpc": "1.0"}, "jsonrpc"),
        ({"id": 1, "result": {}}, "jsonrpc"),
        ([LIST, LIST | {"id": 2.5}], "string or an integer"),
        ([INITIALIZE], "of its own"),
        ([LIST, INITIALIZE], "of its own"),
        ([], "at least one"),
    ],
)
async def test_what_is_no_message_of_a_client_is_refused_and_says_why(
    wrong: Any, said: str
) -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        answer = await peer.post(wrong)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == -32600
        assert said in answer.json()["error"]["message"]
        assert answer.json()["id"] is None


async def test_the_stateless_era_has_no_batches() -> None:
    async with a_site() as site, a_peer(site) as peer:
        request = LIST | {"params": {"_meta": META}}
        answer = await peer.post([request], **{"MCP-Protocol-Version": MODERN})
        assert answer.status_code == 400
        assert "no batches" in answer.json()["error"]["message"]


async def test_a_batch_of_more_requests_than_one_client_may_have_waiting_is_refused() -> None:
    limits = GatewayLimits(max_client_requests=3)
    async with a_site(limits=limits) as site, a_peer(site) as peer:
        await peer.begin()
        assert (await peer.post([tool_call(n) for n in range(3)])).status_code == 200
        assert (await peer.post([tool_call(n) for n in range(4)])).status_code == 429


async def test_two_callers_with_the_same_ids_and_tokens_do_not_meet() -> None:
    both = asyncio.Event()
    waiting: list[Seen] = []

    async def answer(seen: Seen) -> Raw | None:
        if seen.method != "tools/call":
            return None
        waiting.append(seen)
        if len(waiting) == 2:
            both.set()
        await both.wait()
        token = seen.message["params"]["_meta"]["progressToken"]
        progress = {"progressToken": token, "progress": 1}
        name = seen.message["params"]["arguments"]["who"]
        note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}
        own = {"jsonrpc": "2.0", "id": seen.message["id"], "result": {"who": name}}
        return Raw(200, event(note) + event(own), "text/event-stream")

    async with a_site(Scripted(answer)) as site, a_peer(site) as one, a_peer(site) as two:
        await one.begin()
        await two.begin()
        answers = await asyncio.gather(
            one.post(tool_call(7, {"who": "one"}, progressToken="t")),
            two.post(tool_call(7, {"who": "two"}, progressToken="t")),
        )
        assert waiting[0].message["id"] != waiting[1].message["id"]
        for answered, name in zip(answers, ("one", "two"), strict=True):
            assert answered.headers["content-type"] == "text/event-stream"
            events = messages_of(answered)
            assert events[0]["params"] == {"progressToken": "t", "progress": 1}
            assert events[1] == {"jsonrpc": "2.0", "id": 7, "result": {"who": name}}


async def test_a_cancelled_request_is_given_up_upstream_too() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            await asyncio.sleep(60)
        return None

    server = Scripted(answer)
    async with a_site(server) as site, a_peer(site) as peer:
        await peer.begin()
        pending = asyncio.create_task(peer.post(tool_call("c")))
        await until(lambda: server.count("tools/call") == 1)
        cancel = {"method": "notifications/cancelled", "params": {"requestId": "c"}}
        assert (await peer.post({"jsonrpc": "2.0", **cancel})).status_code == 202
        assert (await pending).json()["error"]["code"] == -32800
        await until(lambda: server.count("notifications/cancelled") == 1)


async def test_a_second_stream_takes_the_first_ones_place() -> None:
    limits = GatewayLimits(keep_alive=timedelta(milliseconds=20))
    async with a_site(limits=limits) as site, a_peer(site) as peer:
        await peer.begin()
        async with peer.http.stream("GET", peer.url, headers=peer.headers) as first:
            assert first.headers["content-type"] == "text/event-stream"
            lines = first.aiter_lines()
            assert (await anext(lines)).startswith("id: ")
            async with peer.http.stream("GET", peer.url, headers=peer.headers) as second:
                assert (await anext(second.aiter_lines())).startswith("id: ")
                async for _ in lines:  # the first one ends by itself
                    pass


async def test_a_stream_without_a_session_or_the_right_accept_is_refused() -> None:
    async with a_site() as site, a_peer(site) as peer:
        assert (await peer.http.get(peer.url, headers=peer.headers)).status_code == 405
        plain = {**peer.headers, "Accept": "application/json"}
        assert (await peer.http.get(peer.url, headers=plain)).status_code == 406


# --- just started -----------------------------------------------------------------------------


def slow_to_begin(begin: asyncio.Event) -> Scripted:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "initialize":
            await begin.wait()
        return None

    return Scripted(answer)


async def test_a_call_waits_for_an_upstream_that_was_started_just_now() -> None:
    begin = asyncio.Event()
    async with (
        scripted(slow_to_begin(begin)) as url,
        running(Upstream("up", url=url)) as site,
        a_peer(site) as direct,
        a_peer(site, "/call") as searching,
    ):
        await direct.begin()
        await searching.begin()
        by_name = {"name": "up:echo", "args": {"n": 1}}
        found = tool_call(1, by_name)
        found["params"]["name"] = "call_tool_destructive"
        calls = [
            asyncio.create_task(direct.post(tool_call(1, {"n": 1}))),
            asyncio.create_task(searching.post(found)),
        ]
        begin.set()
        for call in calls:
            assert (await call).json()["result"]["content"][0]["text"] == '{"n": 1}'


async def test_a_first_list_waits_a_moment_for_upstreams_that_were_started_just_now() -> None:
    begin = asyncio.Event()
    dead = Upstream("dead", url="http://127.0.0.1:9/mcp")
    async with (
        scripted(slow_to_begin(begin)) as url,
        running(Upstream("up", url=url), dead) as site,
        a_peer(site) as peer,
    ):
        await peer.begin()
        listing = asyncio.create_task(peer.post(LIST))
        begin.set()
        tools = (await listing).json()["result"]["tools"]
        assert [tool["name"] for tool in tools] == ["up__echo"]


async def test_a_name_of_an_upstream_that_cannot_be_connected_says_why() -> None:
    async with running(Upstream("up", command="no-such-command")) as site, a_peer(site) as peer:
        await peer.begin()
        result = (await peer.post(tool_call(1))).json()["result"]
        assert result["isError"]
        assert "command not found: no-such-command" in result["content"][0]["text"]
        unknown = tool_call(2)
        unknown["params"]["name"] = "other__tool"
        assert (await peer.post(unknown)).json()["error"]["code"] == -32602


# --- the stateless era ------------------------------------------------------------------------


async def test_a_stateless_request_says_the_same_in_headers_and_body_or_is_refused() -> None:
    async with a_site() as site, a_peer(site) as peer:
        call, headers = modern("tools/call", name="up__echo", arguments={})
        good = {**headers, "Mcp-Name": "up__echo"}
        encoded = {**headers, "Mcp-Name": "=?base64?dXBfX2VjaG8=?="}
        for sent in (good, encoded):
            assert (await peer.post(call, **sent)).status_code == 200
        for wrong in (
            headers,
            {**good, "Mcp-Name": "other"},
            {**good, "Mcp-Method": "tools/list"},
            {**good, "Mcp-Name": "=?base64?***?="},
        ):
            answer = await peer.post(call, **wrong)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_version_that_is_not_ours_names_those_that_are() -> None:
    async with a_site() as site, a_peer(site) as peer:
        message, headers = modern("server/discover")
        message["params"]["_meta"] = {
            **META,
            "io.modelcontextprotocol/protocolVersion": "2030-01-01",
        }
        answer = await peer.post(message, **{**headers, "MCP-Protocol-Version": "2030-01-01"})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == -32022
        assert error["data"]["requested"] == "2030-01-01"
        assert MODERN in error["data"]["supported"]


async def test_a_stateless_request_without_its_envelope_or_with_an_old_method_is_refused() -> None:
    async with a_site() as site, a_peer(site) as peer:
        bare = await peer.post(LIST, **{"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"})
        assert (bare.status_code, bare.json()["error"]["code"]) == (400, -32602)
        message, headers = modern("ping")
        old = await peer.post(message, **headers)
        assert (old.status_code, old.json()["error"]["code"]) == (404, -32601)
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}}
        assert (await peer.post(note, **{"MCP-Protocol-Version": MODERN})).status_code == 202


async def test_closing_a_stateless_request_cancels_it_upstream() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            await asyncio.sleep(60)
        return None

    server = Scripted(answer)
    async with a_site(server) as site, a_peer(site) as peer:
        call, headers = modern("tools/call", name="up__echo", arguments={})
        pending = asyncio.create_task(peer.post(call, **headers, **{"Mcp-Name": "up__echo"}))
        await until(lambda: server.count("tools/call") == 1)
        pending.cancel()
        await until(lambda: server.count("notifications/cancelled") == 1)


async def test_the_envelope_of_a_stateless_client_does_not_go_upstream() -> None:
    server = Scripted()
    async with a_site(server) as site, a_peer(site) as peer:
        call, headers = modern("tools/call", name="up__echo", arguments={})
        call["params"]["_meta"] = {**META, "traceparent": "00-1-1-01"}
        result = (await peer.post(call, **headers, **{"Mcp-Name": "up__echo"})).json()["result"]
        assert result["resultType"] == "complete"
        sent = next(seen for seen in server.seen if seen.method == "tools/call")
        assert sent.message["params"]["_meta"] == {"traceparent": "00-1-1-01"}
        assert "x-api-key" not in sent.headers
