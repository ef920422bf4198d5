"""Whose task is which, when there are more of them than are remembered."""

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.task_owners import MAX_KEPT, TaskOwners
from mcpproxy.gateway.tools import Effect, Tool
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

SERVER = Upstream("one", url="http://127.0.0.1:9/mcp")
TOOL = Tool("echo", "", Effect.READ, b"{}")
ADA = Caller("ada", servers=frozenset({"one"}))
EVE = Caller("eve", servers=frozenset({"one"}))


def a_task(task_id: str) -> Members:
    return {"taskId": jsonrpc.raw(task_id)}


def make(owners: TaskOwners, caller: Caller, task_id: str) -> None:
    made = jsonrpc.result(jsonrpc.encode({"task": {"taskId": task_id}}))
    owners.made(caller, "one", TOOL, made)


def test_who_made_the_most_loses_the_oldest_and_nobody_else_does() -> None:
    owners = TaskOwners({"one": SERVER}.get)
    make(owners, ADA, "ada's")
    for number in range(MAX_KEPT + 10):
        make(owners, EVE, str(number))
    assert owners.may_see(ADA, "one", a_task("ada's"))
    assert not owners.may_see(EVE, "one", a_task("ada's"))
    known = [
        number for number in range(MAX_KEPT + 10) if owners.may_see(EVE, "one", a_task(f"{number}"))
    ]
    assert known == list(range(11, MAX_KEPT + 10))


def test_an_id_that_is_given_again_is_the_last_ones_and_the_newest() -> None:
    owners = TaskOwners({"one": SERVER}.get)
    make(owners, EVE, "again")
    for number in range(MAX_KEPT - 1):
        make(owners, ADA, str(number))
    make(owners, ADA, "again")
    make(owners, ADA, "more")
    assert not owners.may_see(EVE, "one", a_task("again"))
    assert owners.may_see(ADA, "one", a_task("again"))
    assert not owners.may_see(ADA, "one", a_task("0"))
    assert owners.may_see(ADA, "one", a_task("1"))


def test_no_task_is_there_while_its_server_is_not() -> None:
    here = {"one": SERVER}
    owners = TaskOwners(here.get)
    make(owners, ADA, "t")
    here.clear()
    assert not owners.may_see(ADA, "one", a_task("t"))
