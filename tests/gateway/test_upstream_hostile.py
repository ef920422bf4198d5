"""What an upstream may answer, from broken to strange: it costs its own call and nothing else."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.errors import UpstreamError
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.limits import GatewayLimits
from tests.gateway.calls import call
from tests.gateway.hostile import TOOL, Raw, Scripted, Seen, event, scripted
from tests.gateway.world import FAST, running, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "broken",
    [
        {"name": 5, "inputSchema": {}},
        {"inputSchema": {}},
        {"name": "", "inputSchema": {}},
        {"name": "x" * 300, "inputSchema": {}},
        {"name": "no-schema"},
        {"name": "schema", "inputSchema": []},
        {"name": "words", "inputSchema": {}, "description": 7},
        {"name": "hints", "inputSchema": {}, "annotations": {"readOnlyHint": "yes"}},
        "not an object",
        None,
        {**TOOL, "description": "Another one of the same name"},
    ],
)
async def test_a_malformed_tool_hides_itself_and_not_the_list(broken: object) -> None:
    server = Scripted(tools=[broken, TOOL, {**TOOL, "name": "other"}])
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert [tool.name for tool in site.gateway.tools("up")] == ["echo", "other"]
        assert any("hidden tool" in line for line in site.heard.lines)


async def test_a_page_that_repeats_for_ever_ends_at_a_bound() -> None:
    async def answer(seen: Seen) -> dict[str, Any] | None:
        if seen.method != "tools/list":
            return None
        n = int(seen.message.get("params", {}).get("cursor", 0))
        tool = {**TOOL, "name": f"tool{n}"}
        return {"result": {"tools": [tool], "nextCursor": str(n + 1)}}

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert len(site.gateway.tools("up")) == FAST.max_pages


async def test_an_answer_over_the_limit_fails_its_call_alone() -> None:
    limits = GatewayLimits(max_message=100_000)

    async def answer(seen: Seen) -> dict[str, Any] | None:
        if seen.method == "tools/call" and seen.message["params"]["arguments"].get("big"):
            return {"result": {"content": [{"type": "text", "text": "x" * 200_000}]}}
        return None

    async with (
        scripted(Scripted(answer)) as url,
        running(Upstream("up", url=url), limits=limits) as site,
    ):
        await site.connected("up")
        with pytest.raises(UpstreamError, match="larger than 100000 bytes"):
            await call(site, {"big": True})
        assert "content" in await call(site, {"big": False})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"jsonrpc":"2.0","id":99999,"result":{}}', b"[" * 100_000]
)
async def test_an_answer_that_is_none_is_an_error_and_nothing_else_breaks(body: bytes) -> None:
    async def answer(seen: Seen) -> Raw | None:
        broken = seen.method == "tools/call" and seen.message["params"]["arguments"].get("broken")
        return Raw(200, body) if broken else None

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError):
            await call(site, {"broken": True})
        assert "content" in await call(site)


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
async def test_text_that_was_cut_inside_a_character_passes(content_type: str) -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method != "tools/call":
            return None
        result = '{"content":[{"type":"text","text":"cut \\ud83d"}]}'
        body = f'{{"jsonrpc":"2.0","id":{seen.message["id"]},"result":{result}}}'
        if content_type != "application/json":
            body = f"data: {body}\n\n"
        return Raw(200, body.encode(), content_type)

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert (await call(site))["content"][0]["text"] == "cut \ufffd"


async def test_an_event_that_cannot_be_read_fails_the_call_it_answers_at_once() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method != "tools/call":
            return None
        said = f'{{"jsonrpc":"2.0","id":{seen.message["id"]},"result":NaN}}'
        return Raw(200, f"id: 1\ndata: {said}\n\n".encode(), "text/event-stream")

    async with scripted(Scripted(answer)) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="not a JSON-RPC message: JSON is malformed"):
            await call(site)


async def test_a_server_that_never_answers_times_out_and_is_told() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            await asyncio.sleep(60)
        return None

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="did not answer"):
            await call(site, timeout=timedelta(milliseconds=100))
        await until(lambda: server.count("notifications/cancelled") == 1)
        cancelled = next(seen for seen in server.seen if seen.method == "notifications/cancelled")
        called = next(seen for seen in server.seen if seen.method == "tools/call")
        assert cancelled.message["params"]["requestId"] == called.message["id"]


async def test_a_stream_that_ends_early_is_resumed_by_its_last_event_id() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            server.tools = [seen.message["id"]]
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
            body = b"id: e0\nretry: 10\ndata:\n\n" + event(note, id="e1")
            return Raw(200, body, "text/event-stream")
        if seen.http_method == "GET" and seen.headers.get("last-event-id") == "e1":
            answered = {"jsonrpc": "2.0", "id": server.tools[0], "result": {"content": []}}
            return Raw(200, event(answered), "text/event-stream")
        return None

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        assert await call(site) == {"content": []}
        assert not [line for line in site.heard.lines if "ignored" in line]


async def test_unknown_fields_pass_both_ways_untouched() -> None:
    async def answer(seen: Seen) -> dict[str, Any] | None:
        if seen.method != "tools/call":
            return None
        return {
            "result": {"content": [], "x-new": {"deep": [1, None, {"a": "ü"}]}, "_meta": {"k": 1}}
        }

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        result = await call(site, {"keep": [None, 1.50, "é"]})
        assert result["x-new"] == {"deep": [1, None, {"a": "ü"}]}
        sent = next(seen for seen in server.seen if seen.method == "tools/call")
        assert sent.message["params"]["arguments"] == {"keep": [None, 1.5, "é"]}


async def test_what_a_server_asks_of_us_is_answered() -> None:
    asked = [
        {"jsonrpc": "2.0", "id": "p", "method": "ping"},
        {"jsonrpc": "2.0", "id": "s", "method": "sampling/createMessage", "params": {}},
    ]

    async def answer(seen: Seen) -> Raw | None:
        if seen.method != "tools/call":
            return None
        own = {"jsonrpc": "2.0", "id": seen.message["id"], "result": {"content": []}}
        body = b"".join(event(message) for message in (*asked, own))
        return Raw(200, body, "text/event-stream")

    server = Scripted(answer)
    async with scripted(server) as url, running(Upstream("up", url=url)) as site:
        await site.connected("up")
        await call(site)

        def replies() -> dict[str, Any]:
            return {s.message["id"]: s.message for s in server.seen if s.message and not s.method}

        await until(lambda: len(replies()) == 2)
        assert replies()["p"]["result"] == {}
        assert replies()["s"]["error"]["code"] == -32601
