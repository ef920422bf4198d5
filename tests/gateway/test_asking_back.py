"""Questions of a legacy upstream: whose they are, and that nobody else is asked them."""

import asyncio
import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.asking import Questions
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.flights import Flight, Flights
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.era_peers import both_eras
from tests.gateway.hostile import Scripted, scripted
from tests.gateway.lone_upstream import ANNA, Lone, Person, a_client, lone
from tests.gateway.world import FAST, until

pytestmark = pytest.mark.anyio

# A process that asks what a tool is named after, and answers it with what it was told. A tool
# `wait` only waits, until the tool `go` is called; `late` asks once somebody waits.
PROCESS = """
import json, sys
waiting, questions, late, asked = [], {}, [], 0
def say(message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def done(id, text): say({"id": id, "result": {"content": [{"type": "text", "text": text}]}})
TOOLS = ["wait", "go", "ask", "late", "drop", "ping", "log"]
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        version = message["params"]["protocolVersion"]
        say({"id": id, "result": {"protocolVersion": version, "capabilities": {"tools": {}},
             "serverInfo": {"name": "s", "version": "1"}}})
    elif method == "notifications/initialized": say({"id": "r", "method": "roots/list"})
    elif method == "tools/list":
        say({"id": id, "result": {"tools": [{"name": n, "inputSchema": {}} for n in TOOLS]}})
    elif method == "tools/call":
        tool, given = message["params"]["name"], message["params"].get("arguments") or {}
        if tool == "late": late.append((id, given))
        elif tool == "wait":
            waiting.append(id)
            for first, question in late:
                questions[asked + 1], asked = first, asked + 1
                say({"id": asked, **question})
        elif tool == "go":
            for other in waiting: done(other, "went")
            done(id, "gone")
        elif tool == "log":
            say({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
            done(id, "logged")
        else:
            questions[asked + 1], asked = id, asked + 1
            say({"id": asked, **given})
            if tool == "drop":
                say({"method": "notifications/cancelled", "params": {"requestId": asked}})
                done(id, "dropped")
    elif id == "r": print("roots", json.dumps(message["result"]), file=sys.stderr, flush=True)
    elif id is not None:
        done(questions.pop(id), json.dumps(message.get("result", message.get("error"))))
"""
FORM = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}


def a_process(tmp_path: Path) -> Upstream:
    program = tmp_path / "asks.py"
    program.write_text(PROCESS)
    return Upstream("up", command=sys.executable, args=(str(program),))


def elicitation(**more: Any) -> dict[str, Any]:
    return {"method": "elicitation/create", "params": {**FORM, **more}}


async def told(up: Lone, client: Any, question: dict[str, Any]) -> Any:
    """What the process heard in answer to its question, asked during this client's call."""
    return json.loads(await up.call("ask", client, **question))


async def waiting(up: Lone, client: Any) -> asyncio.Task[str]:
    """A call of this client that is in flight."""
    task = asyncio.create_task(up.call("wait", client))
    await asyncio.sleep(0)
    return task


async def test_what_is_asked_before_any_call_is_answered_with_nothing(tmp_path: Path) -> None:
    async with lone(a_process(tmp_path)) as up:
        await until(lambda: 'up: stderr: roots {"roots": []}' in up.heard.lines)


async def test_the_one_caller_is_asked_and_its_words_pass_untouched(tmp_path: Path) -> None:
    person = Person(ANNA)
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        answer = await told(up, a_client(person), elicitation(extra={"kept": [1, None]}))
        assert answer == ANNA["elicitation/create"]
        assert person.asked == [("elicitation/create", {**FORM, "extra": {"kept": [1, None]}})]


async def test_nobody_is_asked_while_several_callers_wait(tmp_path: Path) -> None:
    anna, bert = Person(ANNA), Person(ANNA)
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        other = await waiting(up, a_client(bert, able={}, caller="bert"))
        answer = await told(up, a_client(anna, caller="anna"), elicitation())
        assert "several callers" in answer["message"]
        assert anna.asked == bert.asked == []
        await up.call("go")
        assert await other == "went"


async def test_of_one_callers_clients_the_newest_that_can_is_asked(tmp_path: Path) -> None:
    able, unable = Person(ANNA), Person(ANNA)
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        first = await waiting(up, a_client(able))
        answer = await told(up, a_client(unable, able={"roots": {}}), elicitation())
        assert answer == ANNA["elicitation/create"]
        assert (len(able.asked), len(unable.asked)) == (1, 0)
        await up.call("go")
        await first


def slow_person(gate: asyncio.Event) -> Person:
    """Answers once the gate is open."""

    async def answer() -> Any:
        await gate.wait()
        return ANNA["elicitation/create"]

    return Person({"elicitation/create": answer})


async def test_a_question_outlives_another_call_of_its_client(tmp_path: Path) -> None:
    gate = asyncio.Event()
    client = a_client(person := slow_person(gate))
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        asks = asyncio.create_task(up.call("late", client, **elicitation()))
        await asyncio.sleep(0)
        other = await waiting(up, client)
        await until(lambda: person.asking == 1)
        await up.call("go")
        assert await other == "went"
        gate.set()
        assert json.loads(await asks) == ANNA["elicitation/create"]
        assert len(person.asked) == 1


async def test_two_calls_that_ask_at_once_are_asked_each_by_itself(tmp_path: Path) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    ahead = iter(gates)

    async def answer() -> Any:
        await next(ahead).wait()
        return ANNA["elicitation/create"]

    client = a_client(person := Person({"elicitation/create": answer}))
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        calls = []
        for number in (1, 2):
            calls.append(asyncio.create_task(up.call("ask", client, **elicitation())))
            await until(lambda number=number: person.asking == number)
        for gate, call in zip(gates, calls, strict=True):
            gate.set()
            assert json.loads(await call) == ANNA["elicitation/create"]
        assert len(person.asked) == 2


async def test_a_question_is_asked_again_when_the_call_it_seemed_to_serve_ended(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    client = a_client(person := slow_person(gate))
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        other = await waiting(up, client)
        asks = asyncio.create_task(up.call("ask", client, **elicitation()))
        await until(lambda: person.asking == 1)
        await up.call("go", client)
        assert await other == "went"
        await until(lambda: len(person.asked) == 2)
        gate.set()
        assert json.loads(await asks) == ANNA["elicitation/create"]


async def test_clients_without_a_caller_are_alone_with_themselves(tmp_path: Path) -> None:
    one, two = Person(ANNA), Person(ANNA)
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        first = await waiting(up, a_client(one, caller=""))
        assert (
            "several callers"
            in (await told(up, a_client(two, caller=""), elicitation()))["message"]
        )
        await up.call("go")
        await first


async def test_nobody_is_asked_what_a_call_without_a_client_may_have_asked(tmp_path: Path) -> None:
    person = Person(ANNA)
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        other = await waiting(up, a_client(person))
        assert "no client made" in (await told(up, None, elicitation()))["message"]
        assert person.asked == []
        await up.call("go")
        assert await other == "went"


async def test_a_call_that_is_being_asked_is_not_asked_what_another_wants(tmp_path: Path) -> None:
    silent = Person()
    unable = Person({"elicitation/create": {"code": -32601, "message": "not declared"}})
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        first = asyncio.create_task(told(up, a_client(silent), elicitation()))
        await until(lambda: silent.asking == 1)
        answer = await told(up, a_client(unable, able={"roots": {}}), elicitation())
        assert answer["message"] == "not declared"
        assert len(silent.asked) == 1
        first.cancel()


async def test_a_call_may_ask_several_things_at_once() -> None:
    flights, person = Flights(), Person()
    questions, _ = questions_of(flights, max_server_requests=8)
    flights.begin(1, Flight(Call("tools/call", None, None, a_client(person))))
    for number in range(3):
        questions.asked("elicitation/create", question(number), None)
    await until(lambda: person.asking == 3)
    questions.cancel()


def questions_of(flights: Flights, **limits: Any) -> tuple[Questions, dict[Any, Any]]:
    """Questions by themselves, and the answers by id."""
    answers: dict[Any, Any] = {}

    async def reply(body: bytes) -> None:
        answer = json.loads(body)
        answers[answer["id"]] = answer

    return Questions(flights, reply, replace(FAST, **limits)), answers


def question(request_id: Any) -> jsonrpc.Members:
    return jsonrpc.members(jsonrpc.raw({"jsonrpc": "2.0", "id": request_id, **elicitation()}))


async def test_a_question_too_many_is_answered_at_once_and_a_caller_has_a_share_of_them() -> None:
    anna, bert, carl = Person(), Person(), Person()
    flights = Flights(replace(FAST, max_server_requests=4))
    questions, answers = questions_of(flights, max_server_requests=4)
    for number, person in enumerate((anna, bert, carl)):
        client = a_client(person, caller=f"caller{number}")
        flights.begin(number, Flight(Call("tools/call", None, None, client)))
    for number in range(3):
        questions.asked("elicitation/create", question(f"a{number}"), 0)
    await until(lambda: "a2" in answers)
    for number in range(2):
        questions.asked("elicitation/create", question(f"b{number}"), 1)
    await until(lambda: bert.asking == 2)
    questions.asked("elicitation/create", question("c"), 2)
    await until(lambda: "c" in answers)
    assert (anna.asking, bert.asking, carl.asking) == (2, 2, 0)
    assert set(answers) == {"a2", "c"}
    assert [each["error"]["code"] for each in answers.values()] == [-32000, -32000]
    questions.cancel()


async def test_a_question_under_the_id_of_an_open_one_is_answered_at_once() -> None:
    flights, person = Flights(), Person()
    questions, answers = questions_of(flights)
    flights.begin(1, Flight(Call("tools/call", None, None, a_client(person))))
    questions.asked("elicitation/create", question("same"), 1)
    await until(lambda: person.asking == 1)
    questions.asked("elicitation/create", question("same"), 1)
    await until(lambda: "same" in answers)
    assert answers["same"]["error"]["code"] == -32600
    questions.cancel()


async def test_a_call_of_our_own_has_nobody_to_ask_and_no_roots(tmp_path: Path) -> None:
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        assert "no client made" in (await told(up, None, elicitation()))["message"]
        assert await told(up, None, {"method": "roots/list"}) == {"roots": []}
        rootless = a_client(Person(ANNA), able={"elicitation": {}})
        assert await told(up, rootless, {"method": "roots/list"}) == {"roots": []}
        assert (await told(up, rootless, {"method": "made/up"}))["code"] == -32601
        assert await told(up, rootless, {"method": "ping"}) == {}


async def test_a_question_that_is_taken_back_is_taken_from_the_client_too(tmp_path: Path) -> None:
    person = Person()
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        assert await up.call("drop", a_client(person), **elicitation()) == "dropped"
        await until(lambda: person.asking == 0)


async def test_a_modern_client_alone_hears_the_log_of_a_process_in_its_call(tmp_path: Path) -> None:
    heard: list[Any] = []
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        await up.call("log", a_client(era=Era.MODERN), heard.append)
        assert [jsonrpc.text(message["method"]) for message in heard] == ["notifications/message"]
        assert up.said == []
        await up.call("log", a_client(era=Era.LEGACY), heard.append)
        assert [method for method, _ in up.said] == ["notifications/message"]


async def test_a_question_on_the_stream_of_a_call_is_for_its_client_whoever_else_waits() -> None:
    anna, bert = Person(ANNA), Person(ANNA)
    heard: list[Any] = []
    async with both_eras() as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        client = a_client(bert, caller="bert")
        other = asyncio.create_task(up.call("slow", client, heard.append))
        await until(lambda: len(heard) == 1)
        assert await up.call("ask", a_client(anna, caller="anna")) == "Anna"
        assert bert.asked == []
        other.cancel()


async def test_a_client_that_takes_too_long_costs_the_question_and_not_the_session(
    tmp_path: Path,
) -> None:
    limits = replace(FAST, ask_timeout=timedelta(milliseconds=100))
    async with lone(a_process(tmp_path), limits=limits) as up:
        await up.connected()
        answer = await told(up, a_client(Person()), elicitation())
        assert "not answered in time" in answer["message"]
        assert await told(up, a_client(Person(ANNA)), elicitation()) == ANNA["elicitation/create"]


async def test_notifications_of_clients_are_passed_on() -> None:
    server = Scripted()
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        await up.live.notify("notifications/roots/list_changed", None)
        assert server.count("notifications/roots/list_changed") == 1


# --- wishes -----------------------------------------------------------------------------------
