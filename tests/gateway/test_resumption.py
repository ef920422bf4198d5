"""Streams that break, and clients that come back to them."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.gateway.faces import TOOLS_CHANGED
from mcpproxy.gateway.hub import News
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.asking_peer import CAPABLE, FORM, AskingServer, asking, asking_site, heard_in
from tests.gateway.by_hand import a_peer, a_site, messages_of, streaming, tool_call
from tests.gateway.hostile import Raw, Scripted, Seen, event
from tests.gateway.test_asked_back import NAME, answer_to, begun
from tests.gateway.world import FAST, Site, until

pytestmark = pytest.mark.anyio


def noisy(count: int, begin: asyncio.Event, go_on: asyncio.Event) -> Scripted:
    """Its tool says something `count` times and answers once it may."""

    async def answer(seen: Seen) -> Raw | None:
        if seen.method != "tools/call":
            return None
        begin.set()
        await go_on.wait()
        token = seen.message["params"]["_meta"]["progressToken"]
        notes = b"".join(
            event(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": n},
                }
            )
            for n in range(count)
        )
        own = {"jsonrpc": "2.0", "id": seen.message["id"], "result": {"content": []}}
        return Raw(200, notes + event(own), "text/event-stream")

    return Scripted(answer)


async def test_a_broken_answer_goes_on_where_it_broke_and_still_has_its_response() -> None:
    server = AskingServer()
    async with asking_site(server) as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        async with streaming(peer, "POST", asking(7, [FORM], [FORM])) as stream:
            first = await stream.next()
            await peer.post(answer_to(first, NAME))
            after_first = stream.ids[-1]
            second = await stream.next()
        # The client saw the second question, but says that it did not.
        async with streaming(peer, "GET", **{"Last-Event-ID": after_first}) as resumed:
            assert await resumed.next() == second
            await peer.post(answer_to(second, NAME))
            answer = await resumed.next()
            assert answer["id"] == 7
            assert heard_in(answer) == [NAME, NAME]
            assert await resumed.next() is None
        # All of it is there once more: nobody can know what the client really got.
        async with streaming(peer, "GET", **{"Last-Event-ID": after_first}) as again:
            assert [await again.next(), await again.next()] == [second, answer]
    assert server.calls == 1


async def test_only_a_client_that_knows_events_without_data_is_sent_one() -> None:
    async with asking_site() as site, a_peer(site) as peer:
        for version, primed in (("2025-11-25", True), ("2025-06-18", False)):
            await begun(peer, version, **CAPABLE)
            sent = peer.http.stream("GET", peer.url, headers=peer.headers)
            async with sent as stream:
                lines = stream.aiter_lines()
                first = [await anext(lines), await anext(lines)]
                assert (first[1] == "retry: 1000") is primed


def changed(number: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": TOOLS_CHANGED, "params": {"number": number}}


def say(site: Site, number: int) -> None:
    """An upstream says that its tools changed."""
    message = jsonrpc.members(jsonrpc.encode(changed(number)))
    site.gateway._hub.publish(News("up", TOOLS_CHANGED, message))


@pytest.mark.parametrize("with_id", [True, False])
async def test_what_was_said_while_the_stream_was_gone_is_said_to_who_comes_back(
    with_id: bool,
) -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        session = next(iter(site.gateway._down.sessions))
        async with streaming(peer, "GET") as stream:
            say(site, 1)
            assert await stream.next() == changed(1)
        standing = session.standing
        assert standing is not None
        await until(lambda: not standing.attached)
        say(site, 2)
        say(site, 3)
        headers = {"Last-Event-ID": stream.ids[-1]} if with_id else {}
        async with streaming(peer, "GET", **headers) as resumed:
            assert [await resumed.next(), await resumed.next()] == [changed(2), changed(3)]
            say(site, 4)
            assert await resumed.next() == changed(4)


async def test_a_stream_of_another_run_ends_with_an_error_for_the_request_it_answered() -> None:
    async with a_site() as site, a_peer(site) as peer:
        await peer.begin()
        session = next(iter(site.gateway._down.sessions))
        for request_id in (5, "five"):
            name = session.open_stream(jsonrpc.raw(request_id)).name
            elsewhere = "00000000" + name[8:]
            async with streaming(peer, "GET", **{"Last-Event-ID": f"{elsewhere}-3"}) as lost:
                answer = await lost.next()
                assert answer["id"] == request_id
                assert "Call again" in answer["error"]["message"]
                assert await lost.next() is None


async def test_streams_that_never_were_are_not_kept_beyond_the_bound() -> None:
    limits = replace(FAST, max_kept_streams=4)
    async with a_site(limits=limits) as site, a_peer(site) as peer:
        await peer.begin()
        session = next(iter(site.gateway._down.sessions))
        for number in range(12):
            made_up = {"Last-Event-ID": f"dead.{number}.MQ==-1"}
            async with streaming(peer, "GET", **made_up) as lost:
                assert (await lost.next())["error"]["code"] == -32000
        assert len(session._streams) <= 4


async def test_a_reader_whose_place_is_taken_is_let_go_in_order() -> None:
    async with asking_site() as site, a_peer(site) as peer:
        await begun(peer, **CAPABLE)
        async with streaming(peer, "POST", asking(7, [FORM])) as stream:
            question = await stream.next()
            far = {"Last-Event-ID": f"{stream.ids[-1].rpartition('-')[0]}-999999"}
            async with streaming(peer, "GET", **far) as resumed:
                assert await stream.next() is None
                await peer.post(answer_to(question, NAME))
                assert heard_in(await resumed.next()) == [NAME]


STRANGE = (b"x", b"-", b"1-", b"a-1", b"00000000.1.!!-4", b"-1", b"9" * 400 + b"-1")


@pytest.mark.parametrize("last", [*STRANGE, b"x-\xb2", b"dead.1.MQ==-\xb9", b"dead.1.\xff-1"])
async def test_an_id_that_is_none_of_ours_begins_an_ordinary_stream(last: bytes) -> None:
    limits = replace(FAST, keep_alive=timedelta(milliseconds=20))
    async with a_site(limits=limits) as site, a_peer(site) as peer:
        await peer.begin()
        own = {name.encode(): value.encode() for name, value in peer.headers.items()}
        headers = {**own, b"Last-Event-ID": last}
        async with peer.http.stream("GET", peer.url, headers=headers) as stream:
            assert stream.status_code == 200
            async for line in stream.aiter_lines():
                if line == ": keep-alive":
                    break


async def test_another_sessions_stream_cannot_be_read() -> None:
    async with asking_site() as site, a_peer(site) as peer, a_peer(site) as other:
        await begun(peer, **CAPABLE)
        await begun(other, **CAPABLE)
        async with streaming(peer, "POST", asking(7, [FORM])) as stream:
            question = await stream.next()
            stolen = {"Last-Event-ID": f"{stream.ids[-1].rpartition('-')[0]}-0"}
            async with streaming(other, "GET", **stolen) as thief:
                answer = await thief.next()
                assert "error" in answer  # that there is no such stream, and nothing of the other's
            await peer.post(answer_to(question, NAME))
            assert heard_in(await stream.next()) == [NAME]


async def test_what_is_kept_of_a_stream_is_bounded() -> None:
    begin, go_on = asyncio.Event(), asyncio.Event()
    limits = replace(FAST, max_kept_events=8, max_queued_notices=6, max_kept_streams=3)
    async with a_site(noisy(500, begin, go_on), limits=limits) as site, a_peer(site) as peer:
        await peer.begin()
        go_on.set()
        for number in range(6):
            answers = messages_of(await peer.post(tool_call(number, progressToken="t")))
            assert answers[-1]["id"] == number
        sessions = site.gateway._down.sessions
        assert len(sessions._kept) <= 8 * 3
        for session in sessions:
            sessions.end(session)
        assert len(sessions._kept) == 0


async def test_all_that_is_kept_together_is_bounded_in_bytes() -> None:
    server = AskingServer()
    limits = replace(FAST, max_kept_bytes=50_000)
    note: dict[str, Any] = {"method": "notifications/message"}
    note["params"] = {"level": "info", "data": "x" * 10_000}
    async with asking_site(server, limits=limits) as site, a_peer(site) as peer:
        for _ in range(4):
            await begun(peer)
            heard = messages_of(await peer.post(asking(1, say=[note] * 3)))
            assert len(heard) >= 1
        kept = site.gateway._down.sessions._kept
        assert 0 < kept.size <= 50_000
        streams = [s for each in site.gateway._down.sessions for s in each._streams.values()]
        assert kept.size == sum(len(said) for each in streams for _, said in each._events)


def hanging_up(go_on: asyncio.Event) -> Scripted:
    """Its tool's stream ends before the answer, which waits for who comes back for it."""
    called: list[Any] = []

    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            called.append(seen.message["id"])
            return Raw(200, b"id: 1\nretry: 10\ndata:\n\n", "text/event-stream")
        if seen.http_method == "GET" and seen.headers.get("last-event-id") == "1":
            await go_on.wait()
            own = {"jsonrpc": "2.0", "id": called[-1], "result": {"content": []}}
            return Raw(200, b"id: 2\n" + event(own), "text/event-stream")
        return None

    return Scripted(answer)


async def test_a_stream_that_its_upstream_ended_ends_here_too_and_is_come_back_to() -> None:
    go_on = asyncio.Event()
    async with a_site(hanging_up(go_on)) as site, a_peer(site) as peer:
        await begun(peer)
        async with streaming(peer, "POST", tool_call(5)) as stream:
            assert await stream.next() is None
            seen = stream.ids[-1]
        go_on.set()
        async with streaming(peer, "GET", **{"Last-Event-ID": seen}) as resumed:
            assert (await resumed.next())["id"] == 5


async def test_a_client_of_an_older_version_waits_for_the_answer_of_a_stream_that_ended() -> None:
    go_on = asyncio.Event()
    go_on.set()
    async with a_site(hanging_up(go_on)) as site, a_peer(site) as peer:
        await begun(peer, "2025-06-18")
        answer = await peer.post(tool_call(5))
        assert answer.json()["id"] == 5


async def test_of_two_forms_that_are_welcome_the_first_is_taken() -> None:
    async with a_site(Scripted()) as site, a_peer(site) as peer:
        await begun(peer)
        for accept in (
            "application/json, text/event-stream",
            "text/event-stream, application/json",
        ):
            sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            answer = await peer.post(sent, Accept=accept)
            assert answer.headers["content-type"] == accept.partition(",")[0]
