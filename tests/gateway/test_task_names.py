"""Tasks under the names of the aggregate: what is exchanged, and what is left as it is."""

import json
from typing import Any

import pytest

from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.task_abilities import (
    ANY_TASKS,
    NO_TASKS,
    TaskAbilities,
    knows_extension,
    task_abilities,
    together,
)
from mcpproxy.gateway.task_names import TaskNames, split_task
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from tests.gateway.tasked import ABLE, DECLARED, RELATED

NAMES = TaskNames("my_docs")


def plain(response: Any) -> Any:
    return json.loads(jsonrpc.encode(response["result"]))


def answering(**result: Any) -> Any:
    return jsonrpc.result(jsonrpc.raw(result))


def agreed(version: str, capabilities: Any) -> Agreed:
    return Agreed(version, {"capabilities": jsonrpc.raw(capabilities)})


@pytest.mark.parametrize("server", ["docs", "my_docs", "Docs", "a-b", "1st"])
@pytest.mark.parametrize("own", ["t1", "a+b", "+", "ä 漢", "docs+t1", "{}"])
def test_a_name_leads_back_to_the_server_and_its_own_id(server: str, own: str) -> None:
    names = TaskNames(server)
    shown = names.shown(own)
    split = split_task(shown)
    assert split is not None
    assert split[1] == own
    assert names.own(shown) == own
    assert all(
        TaskNames(other).shown(own) != shown
        for other in ("docs2", "my-docs", "s1st")
        if other != server
    )


@pytest.mark.parametrize("shown", ["", "t1", "+t1", "docs+"])
def test_what_does_not_name_a_server_and_an_id_is_no_name(shown: str) -> None:
    assert split_task(shown) is None


def test_a_name_of_another_server_is_left_as_it_is() -> None:
    assert NAMES.own("docs+t1") == "docs+t1"


def test_of_a_call_only_what_makes_it_a_task_is_exchanged() -> None:
    task = {"task": {"taskId": "t1", "x": 1.50}, "taskId": "kept", "y": {"taskId": "kept"}}
    shown = {**task, "task": {"taskId": NAMES.shown("t1"), "x": 1.5}}
    assert plain(NAMES.begun(answering(**task))) == shown
    extended = {"resultType": "task", "taskId": "t1", "task": {"taskId": "kept"}}
    assert plain(NAMES.begun(answering(**extended))) == {**extended, "taskId": NAMES.shown("t1")}
    for other in (
        {"content": [], "structuredContent": {"taskId": "t1"}},
        {"content": [], "taskId": "t1"},
        {"task": "taskId"},
        {"task": {"taskId": 7}},
    ):
        assert plain(NAMES.begun(answering(**other))) == other
    error = jsonrpc.error(-32602, "taskId")
    assert NAMES.begun(error) is error


def test_what_belongs_to_a_task_says_so_by_its_name_both_ways() -> None:
    own = {"_meta": {RELATED: {"taskId": "t1", "x": 1}, "z": 2}, "message": "related-task"}
    shown = {**own, "_meta": {RELATED: {"taskId": NAMES.shown("t1"), "x": 1}, "z": 2}}
    params = jsonrpc.raw(own)
    assert json.loads(bytes(NAMES.asked(params) or b"")) == shown
    assert json.loads(bytes(NAMES.notified({"params": params})["params"])) == shown
    assert plain(NAMES.result(jsonrpc.result(params))) == shown
    assert plain(NAMES.answered(jsonrpc.result(jsonrpc.raw(shown)))) == own
    others: list[Any] = [
        {},
        {"_meta": {RELATED: 7}},
        {"_meta": RELATED},
        [RELATED],
        {RELATED: {}},
    ]
    for other in others:
        raw = jsonrpc.raw(other)
        assert NAMES.asked(raw) is raw


def test_each_generation_is_declared_to_clients_of_its_era_alone() -> None:
    legacy = task_abilities(agreed("2025-11-25", {"tasks": ABLE, **DECLARED}))
    assert legacy == TaskAbilities(legacy=True, calls=True, lists=True, cancels=True)
    assert legacy.declared(Era.LEGACY) == {"tasks": ABLE}
    assert legacy.declared(Era.MODERN) == {}
    modern = task_abilities(agreed("2026-07-28", {"tasks": ABLE, **DECLARED}))
    assert modern == TaskAbilities(extension=True)
    assert modern.declared(Era.MODERN) == DECLARED
    assert modern.declared(Era.LEGACY) == {}
    assert legacy.also(modern) == ANY_TASKS


@pytest.mark.parametrize(
    ("declared", "calls"),
    [
        ({}, None),
        ({"tasks": {}}, False),
        ({"tasks": {"requests": {"sampling": {"createMessage": {}}}}}, False),
        ({"tasks": {"requests": {"tools": {"call": {}}}}}, True),
        ({"tasks": 7}, None),
        ({"tasks": {"requests": []}}, None),
        ({"extensions": []}, None),
    ],
)
def test_what_is_declared_is_read_to_the_letter(declared: Any, calls: bool | None) -> None:
    found = task_abilities(agreed("2025-11-25", declared))
    assert found.legacy is (calls is not None)
    assert found.calls is bool(calls)


def test_a_server_that_has_not_said_yet_may_have_any() -> None:
    assert task_abilities(None) == NO_TASKS
    assert together([]) == NO_TASKS
    assert together([agreed("2025-11-25", {}), None]) == ANY_TASKS


def test_a_call_may_begin_a_task_only_where_both_sides_have_them() -> None:
    old = Client(Era.LEGACY, "s", {name: jsonrpc.raw(each) for name, each in DECLARED.items()})
    new = Client(Era.MODERN, "m", old.capabilities)
    unaware = Client(Era.MODERN, "m", {"extensions": jsonrpc.raw({"x/y": {}})})
    wish = {"task": jsonrpc.raw({})}
    assert ANY_TASKS.may_begin(old, wish)
    assert not ANY_TASKS.may_begin(old, {})
    assert not NO_TASKS.may_begin(old, wish)
    assert ANY_TASKS.may_begin(new, {})
    assert not NO_TASKS.may_begin(new, wish)
    assert not ANY_TASKS.may_begin(unaware, wish)
    assert not ANY_TASKS.may_begin(None, wish)
    assert not knows_extension(Client(Era.MODERN, "m", {"extensions": jsonrpc.raw(7)}))
