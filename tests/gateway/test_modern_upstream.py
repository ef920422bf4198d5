"""An upstream of the stateless era, answer by answer."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.connection import ConnectionState
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.hostile import TOOL, Answer, Raw, Scripted, Seen, event, scripted
from tests.gateway.lone_upstream import ANNA, Lone, Person, a_client, lone
from tests.gateway.world import FAST, until

pytestmark = pytest.mark.anyio
PREFIX = "io.modelcontextprotocol/"
ABLE = {"tools": {"listChanged": True}, "resources": {"subscribe": True}}
FORM = {"method": "elicitation/create", "params": {"mode": "form", "message": "Who?"}}
UPDATED = "notifications/resources/updated"


def modern(answer: Answer | None = None, able: Any = None) -> Scripted:
    """A server of the stateless era alone; `answer` decides first. It listens without a word."""

    async def decide(seen: Seen) -> Any:
        said = None if answer is None else await answer(seen)
        if said is not None:
            return said
        if seen.method == "server/discover":
            offered = {"tools": {}} if able is None else able
            return {"result": {"supportedVersions": ["2026-07-28"], "capabilities": offered}}
        return Raw(400) if seen.method == "initialize" else None

    return Scripted(decide, session_id=None)


def stream(*messages: dict[str, Any]) -> Raw:
    """An event stream that the server ends after these."""
    body = b"".join(event({"jsonrpc": "2.0", **message}) for message in messages)
    return Raw(200, body, "text/event-stream")


def acknowledged(seen: Seen) -> dict[str, Any]:
    params = {
        "notifications": seen.message["params"]["notifications"],
        "_meta": {f"{PREFIX}subscriptionId": seen.message["id"]},
    }
    return {"method": "notifications/subscriptions/acknowledged", "params": params}


async def carried(up: Lone, client: Any = None, **params: Any) -> dict[str, Any]:
    """The response to a call of `echo`, as JSON."""
    given = jsonrpc.members(jsonrpc.raw({"name": "echo", **params}))
    response = await up.live.request(Call("tools/call", given, None, client))
    return dict(json.loads(jsonrpc.encode(response)))


# --- one request after the other --------------------------------------------------------------


async def test_what_a_server_wants_is_asked_once_more_for_every_round() -> None:
    async def answer(seen: Seen) -> Any:
        if seen.method != "tools/call":
            return None
        given = seen.message["params"]
        if "requestState" not in given:
            wanted = {"a": FORM, "b": {"method": "roots/list"}}
            return {
                "result": {
                    "resultType": "input_required",
                    "inputRequests": wanted,
                    "requestState": "one",
                }
            }
        if given["requestState"] == "one":
            assert given["inputResponses"] == {
                "a": ANNA["elicitation/create"],
                "b": ANNA["roots/list"],
            }
            return {"result": {"resultType": "input_required", "requestState": "two"}}
        assert "inputResponses" not in given
        return {"result": {"content": [], "state": given["requestState"]}}

    server, person = modern(answer), Person(ANNA)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        response = await carried(up, a_client(person), arguments={"x": 1})
        assert response["result"]["state"] == "two"
        assert [method for method, _ in person.asked] == ["elicitation/create", "roots/list"]
        calls = [seen.message for seen in server.seen if seen.method == "tools/call"]
        assert [call["params"]["arguments"] for call in calls] == [{"x": 1}] * 3
        assert len({call["id"] for call in calls}) == 3


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"requestState": "again"}, "asked for more after"),
        ({"inputRequests": {str(n): FORM for n in range(99)}}, "99 questions at once"),
        ({"inputRequests": {"a": {"method": "made/up"}}}, "asked for made/up"),
    ],
)
async def test_a_server_that_wants_too_much_costs_its_call(wanted: Any, words: str) -> None:
    async def answer(seen: Seen) -> Any:
        if seen.method != "tools/call":
            return None
        return {"result": {"resultType": "input_required", **wanted}}

    limits = replace(FAST, max_ask_rounds=3)
    async with (
        scripted(modern(answer)) as url,
        lone(Upstream("up", url=url), limits=limits) as up,
    ):
        await up.connected()
        assert words in (await carried(up, a_client(Person(ANNA))))["error"]["message"]


async def test_an_address_to_visit_gets_the_id_that_older_clients_know() -> None:
    asked = {"mode": "url", "url": "https://example.com", "message": "Go there"}

    async def answer(seen: Seen) -> Any:
        if seen.method != "tools/call" or "inputResponses" in seen.message["params"]:
            return None
        wanted = {"a": {"method": "elicitation/create", "params": asked}}
        return {"result": {"resultType": "input_required", "inputRequests": wanted}}

    person = Person(ANNA)
    async with scripted(modern(answer)) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "result" in await carried(up, a_client(person))
        ((_, params),) = person.asked
        assert params.pop("elicitationId")
        assert params == asked


async def test_words_about_wanting_input_are_only_words() -> None:
    said = {"content": [{"type": "text", "text": '"input_required"'}], "resultType": "complete"}

    async def answer(seen: Seen) -> Any:
        return {"result": said} if seen.method == "tools/call" else None

    async with scripted(modern(answer)) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert (await carried(up, a_client(Person())))["result"] == said


async def test_an_unknown_resource_has_the_code_of_the_clients_era() -> None:
    async def answer(seen: Seen) -> Any:
        if seen.method != "resources/read":
            return None
        error = {"code": -32602, "message": "Unknown", "data": {"uri": "x"}}
        return Raw(
            400, json.dumps({"jsonrpc": "2.0", "id": seen.message["id"], "error": error}).encode()
        )

    async with scripted(modern(answer)) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        for era, code in ((Era.LEGACY, -32002), (Era.MODERN, -32602)):
            read = Call("resources/read", jsonrpc.members(b'{"uri":"x"}'), None, a_client(era=era))
            error = json.loads(bytes((await up.live.request(read))["error"]))
            assert error == {"code": code, "message": "Unknown", "data": {"uri": "x"}}


async def test_a_tool_that_asks_for_a_header_since_it_was_listed_is_listed_again() -> None:
    asks: list[bool] = []

    async def answer(seen: Seen) -> Any:
        if seen.method == "tools/list":
            place = {"type": "string", **({"x-mcp-header": "Place"} if asks else {})}
            tool = {**TOOL, "inputSchema": {"type": "object", "properties": {"place": place}}}
            return {"result": {"tools": [tool]}}
        if seen.method == "tools/call" and asks and "mcp-param-place" not in seen.headers:
            return {"error": {"code": -32020, "message": "Mcp-Param-Place is missing"}}
        return None

    server = modern(answer)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        asks.append(True)
        assert "result" in await carried(up, arguments={"place": "here"})
        assert server.count("tools/call") == 2


async def test_a_header_that_is_missing_for_another_reason_is_the_servers_answer() -> None:
    async def answer(seen: Seen) -> Any:
        if seen.method != "tools/call":
            return None
        return {"error": {"code": -32020, "message": "Mcp-Name is missing"}}

    server = modern(answer)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert (await carried(up))["error"]["code"] == -32020
        assert server.count("tools/call") == 1


async def test_a_tool_whose_header_cannot_be_sent_hides_itself_and_says_so() -> None:
    bad = {
        "name": "bad",
        "inputSchema": {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
    }
    server = modern()
    server.tools = [TOOL, bad]
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert up.tools == {"echo"}
        await until(lambda: any("x-mcp-header" in line for line in up.heard.lines))


async def test_what_precedes_an_answer_reaches_its_caller_alone() -> None:
    heard: list[Any] = []

    async def answer(seen: Seen) -> Any:
        if seen.method != "tools/call":
            return None
        token = seen.message["params"]["_meta"]["progressToken"]
        return stream(
            {"method": "notifications/message", "params": {"level": "info", "data": "x"}},
            {"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}},
            {"id": seen.message["id"], "result": {"content": []}},
        )

    async with scripted(modern(answer)) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        given = jsonrpc.members(b'{"name":"echo","_meta":{"progressToken":"mine"}}')
        await up.live.request(Call("tools/call", given, heard.append))
        methods = [jsonrpc.text(message["method"]) for message in heard]
        assert methods == ["notifications/message", "notifications/progress"]
        assert json.loads(bytes(heard[1]["params"]))["progressToken"] == "mine"
        assert up.said == []


async def test_an_answer_whose_stream_ends_early_fails_its_call_and_nothing_else() -> None:
    async def answer(seen: Seen) -> Any:
        broken = seen.method == "tools/call" and seen.message["params"].get("arguments")
        return stream() if broken else None

    server = modern(answer)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        with pytest.raises(Exception, match="ended without an answer"):
            await carried(up, arguments={"break": 1})
        assert up.live.connection.state is ConnectionState.CONNECTED
        assert "result" in await carried(up)
        assert server.count("server/discover") == 1


# --- listening --------------------------------------------------------------------------------


async def test_after_a_gap_everything_that_is_listened_for_may_have_changed() -> None:
    open_now: list[int] = []

    async def answer(seen: Seen) -> Any:
        if seen.method != "subscriptions/listen":
            return None
        open_now.append(seen.message["id"])
        return stream(acknowledged(seen))

    limits = replace(FAST, relist_pause=timedelta(0))
    server = modern(answer, able=ABLE)
    async with (
        scripted(server) as url,
        lone(Upstream("up", url=url), limits=limits) as up,
    ):
        await up.connected()
        await until(lambda: len(open_now) >= 2)
        await until(lambda: server.count("tools/list") >= 2)
        first = next(seen for seen in server.seen if seen.method == "subscriptions/listen")
        assert first.message["params"]["notifications"] == {"toolsListChanged": True}
        assert first.headers["mcp-method"] == "subscriptions/listen"


async def test_an_update_is_passed_on_without_the_number_of_our_stream() -> None:
    async def answer(seen: Seen) -> Any:
        if seen.method != "subscriptions/listen":
            return None
        if "resourceSubscriptions" not in seen.message["params"]["notifications"]:
            return stream(acknowledged(seen))
        tag = {f"{PREFIX}subscriptionId": seen.message["id"]}
        update = {"method": UPDATED, "params": {"uri": "memo://a", "_meta": tag}}
        return stream(acknowledged(seen), update)

    async with scripted(modern(answer, able=ABLE)) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "result" in await up.live.subscribe("memo://a")
        await until(lambda: (UPDATED, {"uri": "memo://a"}) in up.said)


@pytest.mark.parametrize("said", [Raw(404), {"error": {"code": -32601, "message": "no"}}])
async def test_a_server_that_cannot_be_listened_to_is_left_alone(said: Any) -> None:
    async def answer(seen: Seen) -> Any:
        return said if seen.method == "subscriptions/listen" else None

    server = modern(answer, able=ABLE)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        refused = json.loads(bytes((await up.live.subscribe("memo://a"))["error"]))
        assert refused["code"] == -32601
        assert "result" in await carried(up)
        assert server.count("subscriptions/listen") <= 2


async def test_a_wake_looks_whether_the_server_still_answers_without_disturbing_it() -> None:
    server = modern()
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        up.live.wake()
        await until(lambda: server.count("server/discover") == 2)
        assert server.count("ping") == 0
        assert up.live.connection.state is ConnectionState.CONNECTED


# --- beside its older era ---------------------------------------------------------------------


def of_both_eras() -> Scripted:
    """A server that has a handshake too, and tells of resources in that era only."""

    async def decide(seen: Seen) -> Any:
        if seen.method == "server/discover":
            return {"result": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}}
        if seen.method == "subscriptions/listen":
            return {"error": {"code": -32601, "message": "no"}}
        return None

    return Scripted(decide)


async def test_the_older_session_is_told_what_the_stateless_era_has_not() -> None:
    server = of_both_eras()
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "result" in await up.live.set_log_level("info")
        assert server.count("initialize") == server.count("logging/setLevel") == 0
        assert "result" in await carried(up, a_client(Person()))
        assert server.count("initialize") == server.count("logging/setLevel") == 1
        assert "result" in await up.live.set_log_level("debug")
        levels = [s.message["params"] for s in server.seen if s.method == "logging/setLevel"]
        assert levels == [{"level": "info"}, {"level": "debug"}]
        await up.live.notify("notifications/roots/list_changed", None)
        assert server.count("notifications/roots/list_changed") == 1


async def test_updates_that_only_the_older_era_has_are_asked_for_there_and_again() -> None:
    server = of_both_eras()
    forgotten: set[str] = set()
    usual = server.answer

    async def answer(seen: Seen) -> Any:
        if seen.method == "initialize":
            server.session_id = f"s{server.count('initialize')}"
        if seen.headers.get("mcp-session-id") in forgotten:
            return Raw(404)
        return None if usual is None else await usual(seen)

    server.answer = answer
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        assert "result" in await up.live.subscribe("memo://a")
        assert server.count("resources/subscribe") == 1
        forgotten.add("s1")
        assert "result" in await carried(up, a_client(Person()))
        assert server.count("resources/subscribe") == 2
        assert server.count("server/discover") == 1
        assert "result" in await up.live.unsubscribe("memo://a")
        assert server.count("resources/unsubscribe") == 1


async def test_a_change_told_on_the_stream_of_a_call_is_heard_as_if_told_beside_it() -> None:
    changed = "notifications/tools/list_changed"
    log = {"method": "notifications/message", "params": {"level": "error", "data": "x"}}
    heard: list[Any] = []

    async def answer(seen: Seen) -> Any:
        if seen.method != "tools/call":
            return None
        result = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
        updated = {"method": UPDATED, "params": {"uri": "a://x"}}
        last = {"id": seen.message["id"], "result": result}
        return stream({"method": changed}, updated, log, last)

    server = modern(answer)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        listed = server.count("tools/list")
        assert await up.call("echo", a_client(era=Era.MODERN), heard.append) == "done"
        await until(lambda: server.count("tools/list") > listed)
        assert [jsonrpc.text(message["method"]) for message in heard] == ["notifications/message"]
        assert up.said == [(UPDATED, {"uri": "a://x"})]
