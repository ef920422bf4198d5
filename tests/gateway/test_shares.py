"""Where something bounded is full, whoever holds the most of it pays."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.shares import Holder, Shares
from mcpproxy.gateway.streams import EventStream, Kept
from tests.gateway.asking_peer import FORM, AskingServer, asking, asking_site, heard_in
from tests.gateway.by_hand import LIST, a_peer, a_site, messages_of, streaming, tool_call
from tests.gateway.hostile import Raw, Scripted, Seen
from tests.gateway.test_listen import HEADERS as LISTENING
from tests.gateway.test_listen import listen
from tests.gateway.test_parking import ADA, modern, retry, sent
from tests.gateway.world import FAST, until

pytestmark = pytest.mark.anyio
MANY = {"X-Caller": "many"}
ONE = {"X-Caller": "one"}


# --- who pays -----------------------------------------------------------------------------------


def held(*things: tuple[str, str, int]) -> Shares[str]:
    """Things by caller, client and weight, named by their number."""
    shares: Shares[str] = Shares()
    for number, (caller, client, weight) in enumerate(things):
        shares.add(Holder(caller, client), str(number), weight)
    return shares


def test_the_caller_with_the_most_pays_then_the_client_with_the_most_of_its() -> None:
    shares = held(("a", "x", 9), ("b", "x", 2), ("b", "y", 4), ("b", "y", 4))
    pays = shares.most(Holder("a", "x"))
    assert (pays, shares.oldest(pays), shares.newest(pays)) == (Holder("b", "y"), "2", "3")
    shares.drop(pays, "2")
    assert shares.most(Holder("b", "y")) == Holder("a", "x")


def test_on_a_tie_who_came_last_pays() -> None:
    shares = held(("a", "x", 1), ("b", "x", 1), ("b", "y", 1), ("a", "y", 1))
    assert shares.most(Holder("b", "x")) == Holder("b", "x")
    assert shares.most(Holder("a", "y")) == Holder("a", "y")


def test_turns_go_round_and_what_is_empty_is_forgotten() -> None:
    shares = held(("a", "x", 1), ("a", "x", 1), ("a", "y", 1), ("b", "x", 1), ("b", "x", 1))
    assert [shares.next() for _ in range(5)] == ["0", "3", "2", "4", "1"]
    assert (shares.count, shares.weight, list(shares)) == (0, 0, [])
    assert (shares._callers, shares._weights) == ({}, {})


def test_what_is_not_held_is_dropped_without_a_trace() -> None:
    shares = held(("a", "x", 3))
    shares.drop(Holder("a", "y"), "0")
    shares.drop(Holder("b", "x"), "0")
    shares.drop(Holder("a", "x"), "7")
    assert (shares.count, shares.weight) == (1, 3)


# --- parked calls, subscriptions, sessions --------------------------------------------------------


async def test_a_caller_that_parks_more_and_more_calls_loses_its_own() -> None:
    server = AskingServer()
    call = asking(1, [FORM])
    limits = replace(FAST, max_parked=3)
    async with asking_site(server, limits=limits) as site, a_peer(site) as peer:
        mine = await sent(peer, modern(call), **ONE)
        flood = [await sent(peer, modern(asking(n, [FORM])), **MANY) for n in range(6)]
        assert len(site.gateway._down.lot) == 3
        answer = await sent(peer, retry(call, mine, {"q1": ADA}), **ONE)
        assert heard_in(answer) == [{"result": ADA}]
        gone = await sent(peer, retry(asking(3, [FORM]), flood[3], {"q1": ADA}), **MANY)
        assert gone["error"]["code"] == -32602


async def test_a_caller_that_listens_much_makes_room_for_one_that_listens_to_nothing() -> None:
    limits = GatewayLimits(max_listens=3)
    async with a_site(limits=limits) as site, a_peer(site) as peer, AsyncExitStack() as stack:

        async def listening(number: int, caller: dict[str, str]) -> Any:
            asked = listen(number, toolsListChanged=True)
            opened = streaming(peer, "POST", asked, **LISTENING, **caller)
            stream = await stack.enter_async_context(opened)
            await stream.next()
            return stream

        many = [await listening(number, MANY) for number in range(3)]
        refused = await peer.post(listen(9), **LISTENING, **MANY)
        assert refused.json()["error"]["message"] == "Too many subscriptions are open"
        mine = await listening(4, ONE)
        assert (await many[0].next())["result"]["resultType"] == "complete"
        # Of two and one, with one more, nobody has the most but who comes now.
        for caller in (MANY, ONE):
            assert (await peer.post(listen(9), **LISTENING, **caller)).status_code == 400
        site.gateway.end_streams()
        for stream in (many[1], many[2], mine):
            assert (await stream.next())["result"]["resultType"] == "complete"


async def test_sessions_of_one_caller_push_no_others_out() -> None:
    async with a_site(limits=replace(FAST, max_sessions=3)) as site, a_peer(site) as mine:
        mine.headers.update(ONE)
        await mine.begin()
        (known,) = site.gateway._down.sessions
        async with a_peer(site) as flood:
            flood.headers.update(MANY)
            for _ in range(9):
                flood.headers.pop("Mcp-Session-Id", None)
                await flood.begin()
        assert len(site.gateway._down.sessions) == 3
        assert known in site.gateway._down.sessions  # it was not made anew either
        assert (await mine.post(LIST)).status_code == 200


# --- kept events ----------------------------------------------------------------------------------


def stream_of(kept: Kept, caller: str, client: str = "s") -> EventStream:
    return EventStream(f"{caller}-{client}", Holder(caller, client), kept, lambda _: None)


async def test_events_are_forgotten_of_the_session_that_most_is_kept_of() -> None:
    kept = Kept(GatewayLimits(max_kept_bytes=1080))
    mine, loud, calm = stream_of(kept, "one"), stream_of(kept, "many"), stream_of(kept, "many", "t")
    mine.put(b"m" * 100)
    calm.put(b"c" * 100)
    for _ in range(50):
        loud.put(b"l" * 200)
    assert (len(mine._events), len(calm._events), len(loud._events)) == (1, 1, 4)
    # What is too large for the rest is kept all the same: it was not written yet.
    mine.put(b"M" * 5000)
    assert [len(message) for _, message in mine._events] == [5000]
    assert len(kept) == 1


async def test_the_events_of_many_sessions_are_forgotten_alike_and_together() -> None:
    kept = Kept(GatewayLimits(max_kept_bytes=100_000))
    streams = [stream_of(kept, "one", f"s{number}") for number in range(100)]
    for _ in range(20):
        for stream in streams:
            stream.put(b"x" * 100)
        assert kept.size <= 100_000
    left = [len(stream._events) for stream in streams]
    assert max(left) - min(left) <= 1
    assert sum(left) * 100 == kept.size > 90_000


# --- requests of one session ----------------------------------------------------------------------


async def test_requests_of_one_session_that_wait_for_their_answers_are_bounded() -> None:
    go_on, calls = asyncio.Event(), 0

    async def answer(seen: Seen) -> Raw | None:
        nonlocal calls
        if seen.method == "tools/call":
            calls += 1
            await go_on.wait()
        return None

    limits = replace(FAST, max_client_requests=3)
    async with (
        a_site(Scripted(answer), limits=limits) as site,
        a_peer(site) as peer,
        a_peer(site) as other,
    ):
        await peer.begin()
        await other.begin()
        waiting = [asyncio.create_task(peer.post(tool_call(number))) for number in range(3)]
        await until(lambda: calls == 3)
        for more in (LIST, [LIST, {**LIST, "id": 2}]):
            refused = await peer.post(more)
            assert refused.status_code == 429
            assert "Too many requests" in refused.json()["error"]["message"]
        # What lets one of them end is no request; and other sessions have a bound of their own.
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await peer.post(note)).status_code == 202
        assert (await other.post(LIST)).status_code == 200
        go_on.set()
        for number, each in enumerate(await asyncio.gather(*waiting)):
            assert messages_of(each)[-1]["id"] == number
        assert (await peer.post(LIST)).status_code == 200
