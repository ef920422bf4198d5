"""Calls that were given up while their server works on: what it asks then is not another's."""

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcpproxy.gateway.flights import Flight, Flights
from mcpproxy.gateway.left_behind import LeftBehind, Origin
from mcpproxy.gateway.session import Call
from tests.gateway.lone_upstream import ANNA, Lone, Person, a_client, lone
from tests.gateway.test_asking_back import (
    a_process,
    elicitation,
    question,
    questions_of,
    told,
    waiting,
)
from tests.gateway.world import until

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


async def given_up(up: Lone, client: Any) -> None:
    """A call that asks once somebody waits, and that nobody waits for when it does."""
    call = asyncio.create_task(up.call("late", client, **elicitation()))
    await asyncio.sleep(0)
    assert await up.call("log", client) == "logged"  # so it has arrived
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call


async def asked_while_waiting(up: Lone, client: Any) -> None:
    """Let the call that was given up ask while this client waits for another; both end."""
    other = await waiting(up, client)
    done = "up: ignored a response that nobody waits for"
    await until(lambda: done in up.heard.lines, lambda: up.heard.lines)
    await up.call("go", client)
    assert await other == "went"


@pytest.mark.parametrize("who", ["another caller", "nobody's client"])
async def test_what_a_call_asks_that_was_given_up_is_asked_of_nobody_else(
    tmp_path: Path, who: str
) -> None:
    anna, bert = Person(ANNA), Person(ANNA)
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        await given_up(up, a_client(anna, caller="anna") if who == "another caller" else None)
        client = a_client(bert, caller="bert")
        await asked_while_waiting(up, client)
        assert anna.asked == bert.asked == []
        # The server has answered the other call after all: what it asks now is of this one.
        assert await told(up, client, elicitation()) == ANNA["elicitation/create"]


async def test_another_program_of_the_same_caller_is_asked(tmp_path: Path) -> None:
    gone, there = Person(ANNA), Person(ANNA)
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        await given_up(up, a_client(gone))
        await asked_while_waiting(up, a_client(there))
        assert (len(gone.asked), len(there.asked)) == (0, 1)


async def test_what_comes_on_the_stream_of_a_call_that_ended_is_asked_of_nobody() -> None:
    flights, person = Flights(), Person(ANNA)
    questions, answers = questions_of(flights)
    flights.begin(2, Flight(Call("tools/call", None, None, a_client(person))))
    questions.asked("elicitation/create", question("late"), 1)
    await until(lambda: "late" in answers)
    assert "has ended" in answers["late"]["error"]["message"]
    assert person.asked == []


async def test_a_log_may_be_of_a_call_that_was_given_up(tmp_path: Path) -> None:
    async with lone(a_process(tmp_path)) as up:
        await up.connected()
        await given_up(up, a_client(caller="anna"))
        up.about.clear()
        assert await up.call("log", a_client(caller="bert")) == "logged"
        assert up.about == [{"anna", "bert"}]


async def test_a_server_that_never_answers_is_believed_to_be_done_in_the_end() -> None:
    left = LeftBehind(timedelta(0))
    left.add(Origin("anna", has_client=True), 1)
    assert left.origins() == set()


async def test_who_gave_up_too_many_calls_to_count_is_remembered_until_the_end() -> None:
    few, many = LeftBehind(HOUR), LeftBehind(HOUR)
    for left, count in ((few, 64), (many, 65)):
        for number in range(count):
            left.add(Origin("anna", has_client=True), number)
        for number in range(count):
            left.answered(number)
    assert few.origins() == set()
    assert {origin.caller for origin in many.origins()} == {"anna"}


async def test_those_who_gave_up_last_are_remembered_among_too_many() -> None:
    left = LeftBehind(HOUR)
    for number in range(100):
        left.add(Origin(f"caller {number}", has_client=True), number)
    assert {each.caller for each in left.origins()} == {f"caller {n}" for n in range(36, 100)}
