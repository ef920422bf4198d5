"""Stateless clients before an upstream that asks: their calls wait until they come back."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.gateway.asking_peer import (
    CAPABLE,
    FORM,
    ROOTS,
    SAMPLE,
    AskingServer,
    asking,
    asking_site,
    heard_in,
)
from tests.gateway.by_hand import META, MODERN, Peer, a_peer, a_site, streaming
from tests.gateway.hostile import Scripted, Seen
from tests.gateway.world import FAST, until

pytestmark = pytest.mark.anyio
ADA = {"action": "accept", "content": {"name": "Ada"}}
PARIS = {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "m"}
HEADERS = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "up__ask"}


def modern(call: dict[str, Any], *, declares: Any = None, **params: Any) -> dict[str, Any]:
    """A call of a stateless client."""
    meta = {
        **META,
        "io.modelcontextprotocol/clientCapabilities": CAPABLE if declares is None else declares,
    }
    return {**call, "params": {**call["params"], "_meta": meta, **params}}


def retry(
    call: dict[str, Any], wanted: Any, answers: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """The same call again, with what its client was asked for."""
    again = {**call, "id": f"again-{call['id']}"}
    state = wanted["result"]["requestState"]
    return modern(again, inputResponses=answers, requestState=state, **more)


async def sent(peer: Peer, message: Any, **headers: str) -> Any:
    return (await peer.post(message, **{**HEADERS, **headers})).json()


async def test_a_call_that_asks_comes_back_as_input_required_and_goes_on_with_the_answers() -> None:
    server = AskingServer()
    call = asking(1, [FORM], [SAMPLE, ROOTS])
    async with asking_site(server) as site, a_peer(site) as peer:
        first = await sent(peer, modern(call))
        assert first["id"] == 1
        assert first["result"]["resultType"] == "input_required"
        assert first["result"]["inputRequests"] == {"q1": FORM}
        second = await sent(peer, retry(call, first, {"q1": ADA}))
        assert second["result"]["resultType"] == "input_required"
        assert second["result"]["inputRequests"] == {"q2": SAMPLE, "q3": ROOTS}
        roots = {"roots": [{"uri": "file:///x"}]}
        last = await sent(peer, retry(call, second, {"q2": PARIS, "q3": roots, "q9": {}}))
        assert last["id"] == "again-1"
        assert last["result"]["resultType"] == "complete"
        assert heard_in(last) == [{"result": ADA}, {"result": PARIS}, {"result": roots}]
        assert len(site.gateway._down.lot) == 0
    assert server.calls == 1


async def test_what_is_left_unanswered_is_asked_again() -> None:
    call = asking(1, [FORM, SAMPLE])
    async with asking_site() as site, a_peer(site) as peer:
        first = await sent(peer, modern(call))
        assert first["result"]["inputRequests"] == {"q1": FORM, "q2": SAMPLE}
        second = await sent(peer, retry(call, first, {"q1": ADA}))
        assert second["result"]["inputRequests"] == {"q2": SAMPLE}
        third = await sent(peer, retry(call, second, {}))
        assert third["result"]["inputRequests"] == {"q2": SAMPLE}
        last = await sent(peer, retry(call, third, {"q2": PARIS}))
        assert heard_in(last) == [{"result": ADA}, {"result": PARIS}]


async def test_a_state_holds_once_and_only_for_its_caller_place_and_request() -> None:
    server = AskingServer()
    call = asking(1, [FORM])
    async with asking_site(server) as site, a_peer(site) as peer, a_peer(site, "/all") as elsewhere:
        wanted = await sent(peer, modern(call))
        answer = retry(call, wanted, {"q1": ADA})
        other = {**answer, "params": {**answer["params"], "name": "up__other"}}
        forged = {**answer, "params": {**answer["params"]}}
        forged["params"]["requestState"] = wanted["result"]["requestState"][:-1] + "x"
        for refused in (
            await sent(peer, answer, **{"X-Caller": "mallory"}),
            await sent(elsewhere, answer),
            await sent(peer, other, **{"Mcp-Name": "up__other"}),
            await sent(peer, forged),
        ):
            assert refused["error"]["code"] == -32602
        assert server.answers == []
        assert heard_in(await sent(peer, answer)) == [{"result": ADA}]
        assert (await sent(peer, answer))["error"]["code"] == -32602


async def test_answers_that_cannot_be_read_are_refused_and_the_call_waits_on() -> None:
    call = asking(1, [FORM])
    async with asking_site() as site, a_peer(site) as peer:
        wanted = await sent(peer, modern(call))
        wrong: list[Any] = [5, [ADA], "q1", None]
        for answers in wrong:
            refused = await sent(peer, retry(call, wanted, answers))
            assert (refused["id"], refused["error"]["code"]) == ("again-1", -32602)
        assert heard_in(await sent(peer, retry(call, wanted, {"q1": ADA}))) == [{"result": ADA}]


async def test_a_state_of_the_upstreams_own_passes_untouched() -> None:
    states: list[Any] = []

    async def answer(seen: Seen) -> Any:
        if seen.method == "tools/call":
            states.append(seen.message["params"].get("requestState"))
        return None

    async with a_site(Scripted(answer)) as site, a_peer(site) as peer:
        call = asking(1)
        call["params"]["name"] = "up__echo"
        for state in ("opaque", "mcpproxy:00000000:of-another-one"):
            message = modern(call, requestState=state)
            assert "result" in await sent(peer, message, **{"Mcp-Name": "up__echo"})
    assert states == ["opaque", "mcpproxy:00000000:of-another-one"]


async def test_what_a_stateless_client_did_not_declare_is_not_asked() -> None:
    async with asking_site() as site, a_peer(site) as peer:
        answer = await sent(peer, modern(asking(1, [FORM, SAMPLE]), declares={}))
        assert [each["error"]["code"] for each in heard_in(answer)] == [-32601, -32601]


async def test_parked_calls_are_bounded_in_number_and_the_oldest_is_given_up() -> None:
    server = AskingServer()
    limits = replace(FAST, max_parked=3)
    async with asking_site(server, limits=limits) as site, a_peer(site) as peer:
        wanted = [await sent(peer, modern(asking(n, [FORM]))) for n in range(5)]
        assert len(site.gateway._down.lot) == 3
        await until(lambda: sum("cancelled" in note["method"] for note in server.told) == 2)
        gone = await sent(peer, retry(asking(0, [FORM]), wanted[0], {"q1": ADA}))
        assert gone["error"]["code"] == -32602
        there = await sent(peer, retry(asking(4, [FORM]), wanted[4], {"q1": ADA}))
        assert heard_in(there) == [{"result": ADA}]


async def test_a_parked_call_whose_client_never_comes_back_is_given_up() -> None:
    server = AskingServer()
    limits = replace(FAST, ask_timeout=timedelta(milliseconds=100))
    async with asking_site(server, limits=limits) as site, a_peer(site) as peer:
        await sent(peer, modern(asking(1, [FORM])))
        await until(lambda: len(site.gateway._down.lot) == 0)
        await until(lambda: bool(server.answers or server.told))


async def test_a_client_that_goes_away_during_a_retry_gives_its_call_up() -> None:
    server = AskingServer()
    note = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
    call = asking(1, [FORM], [FORM], say=[note])
    slow = {**call, "params": {**call["params"], "arguments": {"ask": [[FORM]], "wait": True}}}
    async with asking_site(server) as site, a_peer(site) as peer:
        wanted = await sent(peer, modern(slow))
        going = asyncio.create_task(peer.post(retry(slow, wanted, {"q1": ADA}), **HEADERS))
        await until(lambda: len(server.answers) == 1)
        going.cancel()
        await until(lambda: any("cancelled" in note["method"] for note in server.told))
        assert len(site.gateway._down.lot) == 0


async def test_progress_after_a_retry_is_heard_by_the_retry() -> None:
    level = {"io.modelcontextprotocol/logLevel": "info"}
    note = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
    quiet = {"method": "notifications/message", "params": {"level": "debug", "data": "y"}}
    call = asking(1, [FORM], say_after=[quiet, note])
    async with asking_site() as site, a_peer(site) as peer:
        wanted = await sent(peer, modern(call))
        silent = await sent(peer, retry(call, wanted, {"q1": ADA}))
        assert "result" in silent  # without a logLevel there is no log
        loud = modern(call)
        loud["params"]["_meta"] = {**loud["params"]["_meta"], **level}
        wanted = await sent(peer, loud)
        again = retry(call, wanted, {"q1": ADA})
        async with streaming(peer, "POST", again, **HEADERS) as stream:
            assert (await stream.next())["params"]["data"] == "x"
            assert heard_in(await stream.next()) == [{"result": ADA}]


async def test_parked_calls_do_not_keep_us_from_going() -> None:
    async with asking_site() as site, a_peer(site) as peer:
        for number in range(5):
            await sent(peer, modern(asking(number, [FORM])))
        site.gateway.end_streams()
        await until(lambda: len(site.gateway._down.lot) == 0)
