"""What an upstream asks its client while it works: to whom it goes, and who may answer."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from mcp.types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)

from tests.gateway.asking_peer import (
    CAPABLE,
    FORM,
    ROOTS,
    SAMPLE,
    TOOL,
    AskingServer,
    asking,
    asking_site,
    heard_in,
)
from tests.gateway.by_hand import INITIALIZE, Peer, a_peer, messages_of, streaming
from tests.gateway.world import FAST, KEY, Site, until
from tests.peers.mcp_client import connect, text

pytestmark = pytest.mark.anyio
QUICK = replace(FAST, resume_grace=timedelta(milliseconds=50))
NAME = {"result": {"action": "accept", "content": {"name": "Ada"}}}


async def begun(peer: Peer, version: str = "2025-11-25", **capabilities: Any) -> Peer:
    """A session of a client that declares these."""
    peer.headers.pop("Mcp-Session-Id", None)
    params = {**INITIALIZE["params"], "capabilities": capabilities, "protocolVersion": version}  # type: ignore[dict-item]
    answer = await peer.post({**INITIALIZE, "params": params})
    peer.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
    return peer


def answer_to(question: Any, answer: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": question["id"], **answer}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_official_client_of_either_era_answers_a_legacy_upstream(mode: str) -> None:
    async def elicit(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async def sample(context: Any, params: Any) -> CreateMessageResult:
        said = TextContent(type="text", text="Paris")
        return CreateMessageResult(role="assistant", content=said, model="m")

    async def roots(context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri="file:///home/ada", name="home")])  # type: ignore[arg-type]

    answering: dict[str, Any] = {
        "elicitation_callback": elicit,
        "sampling_callback": sample,
        "list_roots_callback": roots,
    }
    async with asking_site() as site:
        headers = {"X-API-Key": KEY}
        async with connect(site.url, headers=headers, mode=mode, **answering) as client:
            arguments = {"ask": [[FORM], [SAMPLE, ROOTS]]}
            heard = json.loads(text(await client.call_tool("up__ask", arguments)))
    assert heard[0] == NAME
    assert heard[1]["result"]["content"] == {"type": "text", "text": "Paris"}
    assert heard[2]["result"]["roots"][0]["uri"] == "file:///home/ada"


async def test_a_question_passes_untouched_on_the_stream_of_the_call_it_serves() -> None:
    async with asking_site() as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        async with streaming(peer, "POST", asking(1, [FORM])) as stream:
            question = await stream.next()
            assert question["method"] == "elicitation/create"
            assert question["params"] == FORM["params"]
            assert (await peer.post(answer_to(question, NAME))).status_code == 202
            assert heard_in(await stream.next()) == [NAME]
            assert await stream.next() is None


async def test_what_a_client_did_not_declare_is_not_asked() -> None:
    url = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://x.test"}}
    with_tools = {**SAMPLE, "params": {**SAMPLE["params"], "tools": []}}  # type: ignore[dict-item]
    async with asking_site() as site, a_peer(site) as peer:
        await begun(peer)
        answer = await peer.post(asking(1, [FORM, SAMPLE]))
        codes = [each["error"]["code"] for each in heard_in(messages_of(answer)[-1])]
        assert codes == [-32601, -32601]
        await begun(peer, elicitation={}, sampling={})
        answer = await peer.post(asking(2, [url, with_tools]))
        codes = [each["error"]["code"] for each in heard_in(messages_of(answer)[-1])]
        assert codes == [-32602, -32602]


async def test_only_its_own_session_answers_a_question_and_only_once() -> None:
    server = AskingServer()
    async with asking_site(server) as site, a_peer(site) as peer, a_peer(site) as other:
        await begun(peer, **CAPABLE)
        await begun(other, **CAPABLE)
        async with streaming(peer, "POST", asking(1, [FORM])) as stream:
            question = await stream.next()
            wrong = {"result": {"action": "accept", "content": {"name": "Mallory"}}}
            assert (await other.post(answer_to(question, wrong))).status_code == 202
            for request_id in ("x", 1, None, question["id"] + "0"):
                forged = {"jsonrpc": "2.0", "id": request_id, **wrong}
                assert (await peer.post(forged)).status_code == 202
            assert server.answers == []
            await peer.post(answer_to(question, NAME))
            await peer.post(answer_to(question, wrong))
            assert heard_in(await stream.next()) == [NAME]


async def test_an_upstream_hears_at_once_that_its_client_is_gone() -> None:
    server = AskingServer()
    async with asking_site(server, limits=QUICK) as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        async with streaming(peer, "POST", asking(1, [FORM])) as stream:
            await stream.next()
        await until(lambda: bool(server.answers))
        assert server.answers[0]["error"]["message"] == "The client is gone"
        async with streaming(peer, "POST", asking(2, [FORM])) as stream:
            await stream.next()
            assert (await peer.http.delete(peer.url, headers=peer.headers)).status_code == 204
        await until(lambda: len(server.answers) == 2 or bool(server.told))


async def test_a_question_whose_post_broke_goes_out_on_the_other_stream() -> None:
    async with asking_site(limits=QUICK) as site, a_peer(site) as peer, a_peer(site) as ears:
        await begun(peer, **CAPABLE)
        ears.headers = dict(peer.headers)
        async with streaming(ears, "GET") as stream:
            async with streaming(peer, "POST", asking(1, [FORM])) as post:
                question = await post.next()
                broken_at = post.ids[-1]
            assert await stream.next() == question
            await peer.post(answer_to(question, NAME))
        async with streaming(peer, "GET", **{"Last-Event-ID": broken_at}) as resumed:
            assert heard_in(await resumed.next()) == [NAME]


async def test_a_client_with_too_many_questions_is_not_asked_another() -> None:
    limits = replace(FAST, max_questions=2)
    async with asking_site(limits=limits) as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        async with streaming(peer, "POST", asking(1, [FORM, FORM, FORM])) as stream:
            asked = [await stream.next() for _ in range(2)]
            for question in asked:
                await peer.post(answer_to(question, NAME))
            heard = heard_in(await stream.next())
            assert sorted("error" in each for each in heard) == [False, False, True]


async def test_what_a_client_tells_of_its_roots_reaches_the_upstreams_of_its_place() -> None:
    server = AskingServer()
    changed = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
    async with asking_site(server) as site:
        for path in ("", "/s/up"):
            async with a_peer(site, path) as peer:
                await begun(peer, roots={"listChanged": True})
                before = len(server.told)
                assert (await peer.post(changed)).status_code == 202
                await until(lambda before=before: len(server.told) > before)  # type: ignore[misc]
    said = [note["method"] for note in server.told]
    assert said.count("notifications/roots/list_changed") == 2


async def test_log_messages_below_the_sessions_level_are_spared() -> None:
    def log(level: str) -> dict[str, Any]:
        return {"method": "notifications/message", "params": {"level": level, "data": level}}

    call = asking(2, say=[log("debug"), log("warning"), log("error")])
    async with asking_site() as site, a_peer(site, "/s/up") as peer:
        call["params"]["name"] = "ask"
        await begun(peer)
        heard = messages_of(await peer.post(call))
        assert [each["params"]["level"] for each in heard[:-1]] == ["debug", "warning", "error"]
        level = {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel"}
        wrong = await peer.post({**level, "params": {"level": "loud"}})
        assert wrong.json()["error"]["code"] == -32602
        assert "result" in (await peer.post({**level, "params": {"level": "warning"}})).json()
        heard = messages_of(await peer.post(call))
        assert [each["params"]["level"] for each in heard[:-1]] == ["warning", "error"]


async def test_on_a_calls_stream_nothing_passes_but_what_belongs_to_the_call() -> None:
    changed = "notifications/tools/list_changed"
    foreign = [
        {"method": changed},
        {"method": "notifications/resources/updated", "params": {"uri": "of://another"}},
        {"method": "notifications/tasks/status", "params": {"taskId": "t", "status": "failed"}},
        {"method": "notifications/made/up"},
    ]
    own = [
        {"method": "notifications/message", "params": {"level": "error", "data": "x"}},
        {"method": "notifications/elicitation/complete", "params": {"elicitationId": "e"}},
    ]
    async with asking_site() as site, a_peer(site) as peer:
        await begun(peer)
        heard = messages_of(await peer.post(asking(1, say=[*foreign, *own])))
        assert [each["method"] for each in heard[:-1]] == [each["method"] for each in own]


async def test_a_change_told_on_a_calls_stream_is_listed_again_before_clients_hear_of_it() -> None:
    server = AskingServer()
    async with asking_site(server) as site, a_peer(site) as peer, a_peer(site) as other:
        await begun(peer)
        await begun(other)
        async with streaming(other, "GET") as stream:
            server.tools = [{**TOOL, "name": "new"}]
            await peer.post(asking(2, say=[{"method": "notifications/tools/list_changed"}]))
            assert (await stream.next())["method"] == "notifications/tools/list_changed"
            listed = await peer.post({"jsonrpc": "2.0", "id": 3, "method": "tools/list"})
            assert [tool["name"] for tool in listed.json()["result"]["tools"]] == ["up__new"]


async def test_a_plain_call_costs_no_stream_and_leaves_nothing_behind() -> None:
    async with asking_site() as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        for number in range(20):
            answer = await peer.post(asking(number))
            assert answer.headers["content-type"] == "application/json"
        assert_nothing_left(site)


async def test_many_clients_that_vanish_while_they_are_asked_leave_nothing_behind() -> None:
    server = AskingServer()
    async with asking_site(server, limits=QUICK) as site:
        async with AsyncExitStack() as stack:
            for _ in range(10):
                peer = await begun(await stack.enter_async_context(a_peer(site)), **CAPABLE)
                stream = streaming(peer, "POST", asking(1, [FORM]))
                await (await stack.enter_async_context(stream)).next()
        await until(lambda: len(server.answers) == 10)
        for session in site.gateway._down.sessions:
            site.gateway._down.sessions.end(session)
        assert_nothing_left(site)


def assert_nothing_left(site: Site) -> None:
    down = site.gateway._down
    for session in down.sessions:
        assert not session.in_flight
        assert not len(session.inquiries)
    assert len(down.sessions._kept) == 0
    assert len(down.lot) == 0
    assert not [task for task in asyncio.all_tasks() if "EventStream" in repr(task.get_coro())]
