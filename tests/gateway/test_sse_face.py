"""HTTP+SSE towards clients that know nothing newer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.types import ElicitResult

from tests.gateway.asking_peer import CAPABLE, FORM, AskingServer, asking, asking_site, heard_in
from tests.gateway.by_hand import INITIALIZE, Peer, Streamed, a_peer, a_site, streaming, tool_call
from tests.gateway.test_asked_back import NAME, answer_to
from tests.gateway.world import FAST, KEY, Site, until
from tests.peers.mcp_client import text

pytestmark = pytest.mark.anyio
HEADERS = {"X-API-Key": KEY}


@asynccontextmanager
async def opened(
    site: Site, peer: Peer, path: str = "", **capabilities: Any
) -> AsyncIterator[Streamed]:
    """A stream whose `peer` posts to the address it was told, introduced."""
    peer.url = f"{site.url}{path}/sse"
    async with peer.http.stream("GET", peer.url, headers=peer.headers) as response:
        assert response.status_code == 200
        lines = response.aiter_lines()
        assert await anext(lines) == "event: endpoint"
        where = (await anext(lines)).removeprefix("data: ")
        assert where.startswith(f"/mcp{path}/messages?session_id=")
        peer.url = site.url.removesuffix("/mcp") + where
        stream = Streamed(response, lines)
        params = {**INITIALIZE["params"], "capabilities": capabilities}  # type: ignore[dict-item]
        assert (await peer.post({**INITIALIZE, "params": params})).status_code == 202
        assert (await stream.next())["result"]["serverInfo"]
        yield stream


@pytest.mark.parametrize("path", ["", "/s/up"])
async def test_the_official_client_lists_calls_and_answers_over_http_and_sse(path: str) -> None:
    async def elicit(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with asking_site() as site:
        stream = sse_client(f"{site.url}{path}/sse", headers=HEADERS)
        async with (
            stream as (read, write),
            ClientSession(read, write, elicitation_callback=elicit) as client,
        ):
            await client.initialize()
            name = "ask" if path else "up__ask"
            assert name in {tool.name for tool in (await client.list_tools()).tools}
            answer = await client.call_tool(name, {"ask": [[FORM]]})
            assert json.loads(text(answer)) == [NAME]


async def test_calls_run_side_by_side_and_what_is_asked_is_answered_on_the_one_stream() -> None:
    async with asking_site() as site, a_peer(site) as peer, opened(site, peer, **CAPABLE) as stream:
        for number in range(3):
            assert (await peer.post(asking(number, [FORM]))).status_code == 202
        questions = [await stream.next() for _ in range(3)]
        for question in questions:
            await peer.post(answer_to(question, NAME))
        answers = [await stream.next() for _ in range(3)]
        assert sorted(each["id"] for each in answers) == [0, 1, 2]
        assert all(heard_in(each) == [NAME] for each in answers)


async def test_a_session_ends_with_its_stream_and_so_do_its_calls_and_questions() -> None:
    server = AskingServer()
    async with asking_site(server) as site, a_peer(site) as peer:
        async with opened(site, peer, **CAPABLE) as stream:
            await peer.post(asking(1, [FORM]))
            await stream.next()
            assert len(site.gateway._down.sessions) == 1
        await until(lambda: len(site.gateway._down.sessions) == 0)
        await until(lambda: bool(server.answers or server.told))
        assert (await peer.post(tool_call(2))).status_code == 404


async def test_only_who_opened_a_stream_may_post_to_it() -> None:
    async with a_site() as site, a_peer(site) as peer, opened(site, peer) as stream:
        assert (await peer.post(tool_call(1), **{"X-Caller": "mallory"})).status_code == 404
        own = peer.url
        peer.url = own.replace("/mcp/messages", "/mcp/all/messages")
        assert (await peer.post(tool_call(1))).status_code == 404
        peer.url = own.partition("?")[0]
        assert (await peer.post(tool_call(1))).status_code == 404
        peer.url = own
        peer.headers.pop("X-API-Key")
        assert (await peer.post(tool_call(1))).status_code == 401
        assert (await peer.http.get(f"{site.url}/sse")).status_code == 401
        peer.headers["X-API-Key"] = KEY
        await peer.post(tool_call(9))
        assert (await stream.next())["id"] == 9
        # Nor is it a session of the other transport.
        session_id = own.partition("session_id=")[2]
        peer.url = site.url
        answer = await peer.post(tool_call(1), **{"Mcp-Session-Id": session_id})
        assert answer.status_code == 404


async def test_a_client_cannot_have_more_requests_waiting_than_the_bound() -> None:
    limits = replace(FAST, max_client_requests=3)
    async with (
        asking_site(limits=limits) as site,
        a_peer(site) as peer,
        opened(site, peer, **CAPABLE) as stream,
    ):
        for number in range(3):
            assert (await peer.post(asking(number, [FORM]))).status_code == 202
        assert (await peer.post(asking(3, [FORM]))).status_code == 429
        cancel = {"method": "notifications/cancelled", "params": {"requestId": 0}}
        assert (await peer.post({"jsonrpc": "2.0", **cancel})).status_code == 202
        seen = [await stream.next() for _ in range(4)]
        given_up = [each for each in seen if "error" in each]
        assert [each["error"]["code"] for each in given_up if "id" in each] == [-32800]


async def test_requests_under_one_id_count_each_and_all_end_with_their_session() -> None:
    server = AskingServer()
    limits = replace(FAST, max_client_requests=3)
    async with asking_site(server, limits=limits) as site, a_peer(site) as peer:
        async with opened(site, peer, **CAPABLE) as stream:
            for _ in range(3):
                assert (await peer.post(asking(1, [FORM]))).status_code == 202
                await stream.next()
            assert (await peer.post(asking(1, [FORM]))).status_code == 429
        await until(lambda: sum("cancelled" in note["method"] for note in server.told) == 3)


async def test_other_methods_on_its_two_paths_are_refused() -> None:
    async with a_site() as site, a_peer(site) as peer:
        assert (await peer.http.post(f"{site.url}/sse", headers=peer.headers)).status_code == 405
        answer = await peer.http.get(f"{site.url}/messages", headers=peer.headers)
        assert answer.status_code == 405
        for path in ("/s/nobody/sse", "/x/sse", "/s/sse"):
            answer = await peer.http.get(site.url + path, headers=peer.headers)
            assert answer.status_code == 404


async def test_its_streams_end_when_we_go() -> None:
    async with a_site() as site, a_peer(site) as peer, opened(site, peer) as stream:
        waiting = asyncio.create_task(stream.next())
        site.gateway.end_streams()
        assert await waiting is None


async def test_streams_of_sessions_end_when_we_go_too() -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        async with streaming(peer, "GET") as stream:
            site.gateway.end_streams()
            assert await stream.next() is None
