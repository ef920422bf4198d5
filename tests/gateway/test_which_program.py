"""Which of one caller's programs is asked, on a wire that does not say whose question it is."""

import pytest

from mcpproxy.gateway.flights import Flight, Flights
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.lone_upstream import ANNA, Person, a_client
from tests.gateway.test_asking_back import question, questions_of
from tests.gateway.world import until

pytestmark = pytest.mark.anyio


class Programs:
    """Programs of one caller, by name, and what each was asked."""

    def __init__(self) -> None:
        self.people = {name: Person(ANNA) for name in ("editor", "agent")}
        self.flights = Flights()
        self._questions, self._answers = questions_of(self.flights)
        self._calls = 0

    def calls(self, program: str, tool: str, method: str = "tools/call") -> int:
        """The id of a call that is in flight now."""
        self._calls += 1
        params = {"name": jsonrpc.raw(tool)}
        call = Call(method, params, None, a_client(self.people[program]))
        self.flights.begin(self._calls, Flight(call))
        return self._calls

    async def asked(self) -> str:
        """Who is asked what the server asks now."""
        before = {name: len(person.asked) for name, person in self.people.items()}
        number = len(self._answers)
        self._questions.asked("elicitation/create", question(number), None)
        await until(lambda: number in self._answers)
        (who,) = (name for name, each in self.people.items() if len(each.asked) > before[name])
        return who


async def test_the_one_whose_tool_has_asked_before_is_asked_again() -> None:
    programs = Programs()
    programs.calls("editor", "confirm")
    alone = await programs.asked()
    programs.calls("agent", "build")
    assert (alone, await programs.asked()) == ("editor", "editor")


async def test_what_was_asked_while_two_had_calls_is_no_lesson() -> None:
    programs = Programs()
    programs.calls("editor", "confirm")
    built = programs.calls("agent", "build")
    assert await programs.asked() == "agent"
    programs.flights.end(built)
    programs.calls("agent", "build")
    programs.calls("editor", "other")
    assert await programs.asked() == "editor"


async def test_the_one_whose_request_may_ask_is_asked_before_one_that_only_lists() -> None:
    programs = Programs()
    programs.calls("editor", "confirm")
    programs.calls("agent", "", "tools/list")
    assert await programs.asked() == "editor"


async def test_what_a_call_asks_that_was_given_up_is_no_lesson() -> None:
    programs = Programs()
    programs.flights.given_up(gone := programs.calls("editor", "confirm"))
    programs.flights.end(gone)
    programs.calls("agent", "build")
    assert await programs.asked() == "agent"
    programs.calls("editor", "confirm")
    assert await programs.asked() == "editor"


async def test_a_question_of_a_task_is_asked_of_who_waits_for_that_task_alone() -> None:
    flights, anna, bert = Flights(), Person(ANNA), Person(ANNA)
    questions, answers = questions_of(flights)
    other = Call("tools/call", None, None, a_client(bert, caller="bert"))
    flights.begin(1, Flight(other))
    asked = question(1)
    related = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t1"}}}
    asked["params"] = jsonrpc.raw({**jsonrpc.members(asked["params"]), **related})
    questions.asked("elicitation/create", asked, None)
    await until(lambda: 1 in answers)
    assert "nobody waits for the task" in answers[1]["error"]["message"]
    params = {"taskId": jsonrpc.raw("t1")}
    flights.begin(2, Flight(Call("tasks/result", params, None, a_client(anna, caller="anna"))))
    questions.asked("elicitation/create", {**asked, "id": jsonrpc.raw(2)}, None)
    await until(lambda: 2 in answers)
    assert (len(anna.asked), len(bert.asked)) == (1, 0)


class Place:
    """A seat that counts how often it is lent."""

    lent = 0

    def lend(self) -> None:
        self.lent += 1

    def take_back(self) -> None:
        self.lent -= 1


async def test_the_call_that_is_asked_alone_lends_its_place_and_lends_it_once() -> None:
    flights, places, person = Flights(), [Place(), Place()], Person()
    questions, _ = questions_of(flights, max_server_requests=8)
    client = a_client(person)
    for number, place in enumerate(places):
        call = Call("tools/call", None, None, client, seat=place)
        flights.begin(number, Flight(call))
    for number in range(2):
        questions.asked("elicitation/create", question(number), 0)
    await until(lambda: person.asking == 2)
    assert [place.lent for place in places] == [1, 0]
    questions.asked("elicitation/create", question(2), None)
    await until(lambda: person.asking == 3)
    assert [place.lent for place in places] == [1, 1]
    questions.cancel()
    await until(lambda: [place.lent for place in places] == [0, 0])
