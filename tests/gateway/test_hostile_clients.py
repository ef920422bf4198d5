"""Clients that misbehave: what they send costs themselves something, and nobody else."""

import asyncio
import json
import tracemalloc
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.legacy import MAX_INTRODUCTION, introduce
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members
from tests.gateway.asking_peer import CAPABLE, FORM, AskingServer, asking, asking_site, heard_in
from tests.gateway.by_hand import INITIALIZE, LIST, a_peer, a_site, streaming, tool_call
from tests.gateway.hostile import Raw, Scripted, Seen
from tests.gateway.test_asked_back import NAME, answer_to, begun
from tests.gateway.test_sse_face import opened
from tests.gateway.world import FAST, KEY, Site, until

pytestmark = pytest.mark.anyio


async def raw_connection(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(site.url.rsplit(":", 1)[1].split("/")[0])
    return await asyncio.open_connection("127.0.0.1", port)


async def test_a_body_that_never_comes_is_given_up() -> None:
    async with a_site(limits=replace(FAST, body_timeout=timedelta(milliseconds=50))) as site:
        reader, writer = await raw_connection(site)
        head = f"POST /mcp HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
        writer.write(
            f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode()
        )
        async with asyncio.timeout(20):
            assert b"408" in await reader.readline()
        writer.close()


async def test_a_flood_of_new_sessions_takes_nothing_from_a_call_that_is_under_way() -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            await go_on.wait()
        return None

    limits = replace(FAST, max_sessions=3)
    async with a_site(Scripted(answer), limits=limits) as site, a_peer(site) as peer:
        await peer.begin()
        under_way = asyncio.create_task(peer.post(tool_call(1)))
        async with a_peer(site) as hostile:
            for _ in range(20):
                hostile.headers.pop("Mcp-Session-Id", None)
                await hostile.begin()
        assert len(site.gateway._down.sessions) == 3
        go_on.set()
        assert (await under_way).json()["id"] == 1


async def test_a_flood_of_answers_nobody_asked_for_settles_nothing() -> None:
    server = AskingServer()
    async with asking_site(server) as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        async with streaming(peer, "POST", asking(1, [FORM])) as stream:
            question = await stream.next()
            stem, _, number = question["id"].rpartition("-")
            forged = [
                {"jsonrpc": "2.0", "id": f"{stem}-{int(number) + n}", "result": {}}
                for n in range(1, 200)
            ]
            assert (await peer.post(forged)).status_code == 202
            odd: list[Any] = [[], {}, True, 1.5, "x" * 10_000, None]
            for request_id in odd:
                message = {"jsonrpc": "2.0", "id": request_id, "result": {}}
                assert (await peer.post(message)).status_code == 202
            assert server.answers == []
            await peer.post(answer_to(question, NAME))
            assert heard_in(await stream.next()) == [NAME]


async def test_half_open_streams_are_replaced_and_leave_nothing_behind() -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        session = next(iter(site.gateway._down.sessions))
        async with AsyncExitStack() as stack:
            for _ in range(30):
                await stack.enter_async_context(streaming(peer, "GET"))
            assert session.standing is not None
            assert len(session._streams) == 1
        await until(lambda: session.standing is not None and not session.standing.attached)
        assert (await peer.post(LIST)).status_code == 200


async def test_a_client_that_reuses_an_id_gets_both_answers() -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        answers = await asyncio.gather(*(peer.post(tool_call(1, {"n": n})) for n in range(5)))
        said = sorted(each.json()["result"]["content"][0]["text"] for each in answers)
        assert said == [json.dumps({"n": n}) for n in range(5)]


async def test_a_client_cannot_cancel_what_another_session_asked() -> None:
    async with asking_site() as site, a_peer(site) as peer, a_peer(site) as other:
        await begun(peer, **CAPABLE)
        await begun(other, **CAPABLE)
        async with streaming(peer, "POST", asking(1, [FORM])) as stream:
            question = await stream.next()
            cancel = {"method": "notifications/cancelled", "params": {"requestId": 1}}
            assert (await other.post({"jsonrpc": "2.0", **cancel})).status_code == 202
            odd: list[Any] = [{}, {"requestId": None}, [], {"requestId": {}}]
            for params in odd:
                note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
                assert (await peer.post(note)).status_code == 202
            await peer.post(answer_to(question, NAME))
            assert heard_in(await stream.next()) == [NAME]


async def test_calls_of_an_old_client_that_are_under_way_are_answered_before_we_go() -> None:
    go_on = asyncio.Event()

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            await go_on.wait()
        return None

    async with (
        a_site(Scripted(answer)) as site,
        a_peer(site) as peer,
        opened(site, peer) as stream,
    ):
        await peer.post(tool_call(4))
        session = next(iter(site.gateway._down.sessions))
        await until(lambda: bool(session.in_flight))
        site.gateway.end_streams()
        go_on.set()
        assert (await stream.next())["id"] == 4
        assert await stream.next() is None


async def test_a_person_who_is_asked_does_not_keep_us_from_going() -> None:
    server = AskingServer()
    async with asking_site(server) as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        async with streaming(peer, "POST", asking(1, [FORM])) as stream:
            await stream.next()
            site.gateway.end_streams()
            heard = heard_in(await stream.next())
            assert heard[0]["error"]["message"] == "mcpproxy is stopping"


async def test_an_id_that_is_used_twice_at_once_still_cancels_the_later_of_the_two() -> None:
    go_on, calls = asyncio.Event(), 0

    async def answer(seen: Seen) -> Raw | None:
        nonlocal calls
        if seen.method == "tools/call":
            calls += 1
            await (go_on.wait() if calls == 1 else asyncio.Event().wait())
        return None

    async with a_site(Scripted(answer)) as site, a_peer(site) as peer:
        await peer.begin()
        first = asyncio.create_task(peer.post(tool_call(7)))
        await until(lambda: calls == 1)
        second = asyncio.create_task(peer.post(tool_call(7)))
        await until(lambda: calls == 2)
        go_on.set()
        assert "result" in (await first).json()
        gone = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
        await peer.post(gone)
        assert (await second).json()["error"]["code"] == -32800


@pytest.mark.parametrize("path", ["", "/s/up"])
async def test_a_client_that_says_too_much_of_itself_gets_no_session(path: str) -> None:
    async with a_site() as site, a_peer(site, path) as peer:
        for said in ("clientInfo", "capabilities"):
            message = json.loads(json.dumps(INITIALIZE))
            message["params"][said] = {"experimental": {"x": "a" * MAX_INTRODUCTION}}
            answer = (await peer.post(message)).json()
            assert answer["error"]["code"] == -32602
            assert said in answer["error"]["message"]
        assert len(site.gateway._down.sessions) == 0


class Plain:
    """As much of a face as an introduction needs."""

    server = None

    async def introduction(self, caller: Caller, era: Era) -> Members:
        return {}


async def test_of_a_client_no_more_is_kept_than_what_it_said_of_itself() -> None:
    params = b'{"clientInfo":{"name":"t"},"capabilities":{"roots":{}},"pad":"%b"}' % (
        b"a" * 4_000_000
    )
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        message = jsonrpc.parse(b'{"id":1,"method":"initialize","params":%b}' % params)[0]
        face = cast("Face", Plain())
        _, introduced = await introduce(face, Caller("someone"), message)
        del message
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert introduced is not None
    assert bytes(introduced.info or b"") == b'{"name":"t"}'
    assert introduced.capabilities.keys() == {"roots"}
    assert kept < 1_000_000


@pytest.mark.parametrize(
    "wrong",
    [{"id": None}, {"id": {"a": 1}}, {"id": [1]}, {"id": True}, {"method": 1}, {"method": None}],
)
async def test_a_request_whose_id_or_method_is_none_is_refused(wrong: Any) -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        for message in ({**LIST, **wrong}, [LIST, {**LIST, **wrong}]):
            answer = await peer.post(message)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == -32600
        for fine in (0, -1, "", "x"):
            assert (await peer.post({**LIST, "id": fine})).json()["id"] == fine
