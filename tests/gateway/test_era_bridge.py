"""Clients of one era before upstreams of the other: everybody who should be asked is asked."""

import asyncio
import json
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.errors import UpstreamTimedOut
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.era_peers import STOPPED, both_eras, modern_server
from tests.gateway.lone_upstream import ANNA, Lone, Person, a_client, lone
from tests.gateway.world import FAST, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The .* capability is deprecated"),
]
STDIO = Upstream("up", command=sys.executable, args=("-m", "tests.gateway.era_peers"))
MODERN_STDIO = Upstream(
    "up", command=sys.executable, args=("-m", "tests.gateway.era_peers", "modern")
)


async def ask_everything(up: Lone) -> None:
    await up.connected()
    person = Person(ANNA)
    client = a_client(person)
    assert await up.call("ask", client) == "Anna"
    assert await up.call("sample", client) == "hello"
    assert await up.call("roots", client) == "file:///home/anna"
    assert await up.call("need", client) == "Anna"
    assert [method for method, _ in person.asked] == [
        "elicitation/create",
        "sampling/createMessage",
        "roots/list",
        "elicitation/create",
    ]


async def test_a_legacy_client_is_asked_by_a_server_of_both_eras_in_its_own() -> None:
    async with both_eras() as url, lone(Upstream("up", url=url)) as up:
        await ask_everything(up)
        assert up.live.agreed is not None
        assert up.live.agreed.version == "2026-07-28"


async def test_a_process_of_both_eras_asks_the_client_of_the_call() -> None:
    async with lone(STDIO) as up:
        await ask_everything(up)


async def test_a_legacy_client_is_asked_for_a_modern_server() -> None:
    async with modern_server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        person = Person(ANNA)
        assert await up.call("need", a_client(person)) == "Anna"
        ((method, params),) = person.asked
        assert (method, params["message"]) == ("elicitation/create", "Who are you?")


async def test_a_legacy_client_is_asked_for_a_modern_process() -> None:
    async with lone(MODERN_STDIO) as up:
        await up.connected()
        assert up.live.agreed is not None
        assert up.live.agreed.version == "2026-07-28"
        assert await up.call("need", a_client(Person(ANNA))) == "Anna"
        assert await up.call("where", place="here") == "here"


async def test_a_modern_client_gets_what_a_modern_server_wants_untouched() -> None:
    async with modern_server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        client = a_client(era=Era.MODERN)
        given = jsonrpc.members(jsonrpc.raw({"name": "need", "arguments": {}}))
        response = await up.live.request(Call("tools/call", given, None, client))
        wanted = json.loads(bytes(response["result"]))
        assert wanted["resultType"] == "input_required"
        (name,) = wanted["inputRequests"]
        answers = {name: ANNA["elicitation/create"]}
        again = {"inputResponses": answers, "requestState": wanted["requestState"]}
        given |= jsonrpc.members(jsonrpc.raw(again))
        response = await up.live.request(Call("tools/call", given, None, client))
        assert json.loads(bytes(response["result"]))["content"][0]["text"] == "Anna"


async def test_a_client_that_cannot_be_asked_gets_an_error_that_says_so() -> None:
    async with modern_server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "elicitation" in await up.call("need", a_client(able={}))
        refusing = Person({"elicitation/create": {"code": -1, "message": "not now"}})
        assert await up.call("need", a_client(refusing)) == "not now"


async def test_a_modern_server_is_told_of_the_very_client_behind_each_request() -> None:
    info = jsonrpc.raw({"name": "anna's", "version": "1"})
    async with modern_server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert json.loads(await up.call("told"))[1] == {}
        person, able = Person(), {"elicitation": {"form": {}}, "roots": {"listChanged": True}}
        seen = json.loads(await up.call("told", a_client(person, able=able, info=info)))
        assert set(seen[1]) == {"elicitation", "roots"}
        seen = json.loads(await up.call("told", a_client(era=Era.MODERN, able={"sampling": {}})))
        assert set(seen[1]) == {"sampling"}


async def test_a_calls_time_stands_still_while_its_client_thinks() -> None:
    gate = asyncio.Event()

    async def thinking() -> Any:
        await gate.wait()
        return ANNA["elicitation/create"]

    person = Person({"elicitation/create": thinking})
    for server in (both_eras, modern_server):
        gate.clear()
        async with server() as url, lone(Upstream("up", url=url)) as up:
            await up.connected()
            given = jsonrpc.members(jsonrpc.raw({"name": "need", "arguments": {}}))
            call = Call("tools/call", given, None, a_client(person))
            short = timedelta(seconds=1)
            waiting = asyncio.create_task(up.live.request(call, short))
            await until(lambda: person.asking == 1)
            done, _ = await asyncio.wait([waiting], timeout=1.5)
            assert not done
            gate.set()
            assert "result" in await waiting


async def test_calls_that_wait_for_the_people_of_one_caller_leave_places_to_others() -> None:
    limits = replace(FAST, max_server_requests=4)
    async with modern_server() as url, lone(Upstream("up", url=url), limits=limits) as up:
        await up.connected()
        silent, bert = Person(), Person(ANNA)
        waiting = [asyncio.create_task(up.call("need", a_client(silent))) for _ in range(2)]
        await until(lambda: silent.asking == 2)
        refused = await asyncio.wait_for(up.call("need", a_client(silent)), 20)
        assert "Too many requests" in refused
        assert await up.call("need", a_client(bert, caller="bert")) == "Anna"
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert await up.call("need", a_client(bert)) == "Anna"


async def test_a_call_that_is_given_up_takes_its_question_back() -> None:
    person = Person()
    for server in (both_eras, modern_server):
        async with server() as url, lone(Upstream("up", url=url)) as up:
            await up.connected()
            calling = asyncio.create_task(up.call("need", a_client(person)))
            await until(lambda: person.asking == 1)
            calling.cancel()
            await until(lambda: person.asking == 0)


@pytest.mark.parametrize("server", [both_eras, modern_server])
async def test_a_cancelled_call_is_cancelled_at_the_server(server: Any) -> None:
    STOPPED.clear()
    async with server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        heard: list[Any] = []
        calling = asyncio.create_task(up.call("slow", a_client(), heard.append))
        await until(lambda: len(heard) == 1)
        assert json.loads(bytes(heard[0]["params"]))["progressToken"] == "t"
        calling.cancel()
        await until(lambda: STOPPED == ["slow"])


async def test_a_call_without_an_answer_ends_in_time_in_the_stateless_era_too() -> None:
    async with modern_server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        call = Call("tools/call", jsonrpc.members(b'{"name":"slow","arguments":{}}'))
        with pytest.raises(UpstreamTimedOut):
            await up.live.request(call, timedelta(milliseconds=100))


async def test_arguments_with_a_header_of_their_own_are_sent_in_it_too() -> None:
    seen: list[tuple[str, dict[str, str]]] = []
    async with modern_server(seen) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert await up.call("where", place="Zürich ") == "Zürich "
        headers = next(headers for method, headers in seen if method == "tools/call")
        assert headers["mcp-name"] == "where"
        assert headers["mcp-param-place"].startswith("=?base64?")


@pytest.mark.parametrize("server", [both_eras, modern_server])
async def test_changes_are_heard_of_by_listening(server: Any) -> None:
    async with server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "touch" in up.tools
        assert "result" in await up.live.subscribe("memo://touched")
        assert await up.call("touch") == "touched"
        await until(lambda: "touch" not in up.tools)
        assert ("notifications/resources/updated", {"uri": "memo://touched"}) in up.said


async def test_what_this_era_has_not_is_answered_here() -> None:
    async with modern_server() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "result" in await up.live.request(Call("ping"))
        assert "result" in await up.live.set_log_level("debug")
        assert "result" in await up.live.unsubscribe("memo://unknown")
