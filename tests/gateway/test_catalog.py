"""Names that clients see, and who may call what."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import Caller, Permit, may_call, may_reach
from mcpproxy.gateway.catalog import Catalog, exposed_name
from mcpproxy.gateway.items import Hidden
from mcpproxy.gateway.limits import GatewayLimits, reconnect_delay
from mcpproxy.gateway.text import short
from mcpproxy.gateway.tools import Effect, Tool, read_tool
from mcpproxy.gateway.wire import jsonrpc

SERVERS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)


def a_tool(name: str, description: str = "", **fields: object) -> Tool:
    made = read_tool(
        jsonrpc.raw({"name": name, "description": description, "inputSchema": {}, **fields})
    )
    assert isinstance(made, Tool), made
    return made


# --- names ------------------------------------------------------------------------------------


@given(SERVERS, st.text(min_size=1, max_size=200))
def test_a_name_is_legal_whatever_the_tool_is_called(server: str, tool: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", exposed_name(server, tool))


@given(st.lists(st.tuples(SERVERS, st.text("ab_.", min_size=1)), max_size=30, unique=True))
def test_names_of_different_tools_differ(tools: list[tuple[str, str]]) -> None:
    assert len({exposed_name(*tool) for tool in tools}) == len(tools)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b__c"), ("a__b", "c")),
        (("a", "_b"), ("a_", "b")),
        (("a", "x.y"), ("a", "x_y")),
        (("a", "x" * 100 + "1"), ("a", "x" * 100 + "2")),
    ],
)
def test_names_that_would_collide_do_not(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert exposed_name(*one) != exposed_name(*other)


def test_a_plain_tool_keeps_its_plain_name() -> None:
    assert exposed_name("github-mcp", "create_issue") == "github-mcp__create_issue"


def test_names_do_not_depend_on_what_else_there_is() -> None:
    orders = itertools.permutations([("a", "b__c"), ("a__b", "c"), ("x", "y")])
    seen = set()
    for order in orders:
        catalog = Catalog()
        for server, tool in order:
            catalog.replace(server, (a_tool(tool),))
        seen.add(tuple((entry.name, entry.id) for entry in catalog))
    assert len(seen) == 1


def test_the_catalog_finds_by_both_names_and_forgets_what_is_gone() -> None:
    catalog = Catalog()
    tools = (a_tool("one"), a_tool("two"))
    assert catalog.replace("s", tools)
    assert not catalog.replace("s", tools)
    assert catalog.find("s__one") is catalog.find("s:one")
    assert b'"name":"s__one"' in catalog.of("s")[0].definition
    assert catalog.replace("s", ())
    assert catalog.find("s__one") is None
    assert len(catalog) == 0


def test_a_definition_keeps_every_field_but_its_name() -> None:
    odd = {"x-vendor": {"a": [1, None]}, "_meta": {"k": "v"}, "outputSchema": {"type": "object"}}
    catalog = Catalog()
    catalog.replace("s", (a_tool("t", **odd),))
    shown = jsonrpc.members(catalog.of("s")[0].definition)
    assert bytes(shown["x-vendor"]) == b'{"a":[1,null]}'
    assert {"_meta", "outputSchema"} <= set(shown)


# --- effects ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "effect"),
    [
        (None, Effect.DESTRUCTIVE),
        ({}, Effect.DESTRUCTIVE),
        ({"readOnlyHint": True}, Effect.READ),
        ({"readOnlyHint": True, "destructiveHint": True}, Effect.READ),
        ({"destructiveHint": False}, Effect.WRITE),
        ({"readOnlyHint": False, "destructiveHint": True}, Effect.DESTRUCTIVE),
    ],
)
def test_a_tool_without_hints_is_taken_for_the_worst(annotations: object, effect: Effect) -> None:
    assert a_tool("t", annotations=annotations).effect is effect


def test_a_schema_too_deep_to_read_hides_its_tool() -> None:
    deep = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    assert isinstance(read_tool(Raw(b'{"name":"t","inputSchema":' + deep + b"}")), Hidden)


# --- access -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (Caller("all"), {"r", "w", "d"}),
        (Caller("reader", frozenset({Permit.READ})), {"r"}),
        (Caller("writer", frozenset({Permit.READ, Permit.WRITE})), {"r", "w"}),
        (Caller("elsewhere", servers=frozenset({"other"})), set()),
        (Caller("here", servers=frozenset({"s"})), {"r", "w", "d"}),
        (Caller("one", tools=frozenset({"s:w"})), {"w"}),
        (Caller("denied", tools=frozenset({"s:w"}), denied=frozenset({"s:w"})), set()),
        (Caller("barred", denied=frozenset({"s"})), set()),
        (Caller("nothing", permits=frozenset()), set()),
    ],
)
def test_a_caller_may_call_what_is_permitted_and_not_denied(
    caller: Caller, allowed: set[str]
) -> None:
    tools = [
        a_tool("r", annotations={"readOnlyHint": True}),
        a_tool("w", annotations={"destructiveHint": False}),
        a_tool("d"),
    ]
    upstream = Upstream("s", url="http://x")
    assert {tool.name for tool in tools if may_call(caller, upstream, tool)} == allowed


def test_nothing_of_a_disabled_or_quarantined_upstream_exists() -> None:
    for upstream in (Upstream("s", enabled=False), Upstream("s", quarantined=True)):
        assert not may_reach(Caller("all"), upstream)


# --- numbers and words ------------------------------------------------------------------------


def test_the_wait_between_tries_doubles_from_one_second_to_five_minutes() -> None:
    waits = [reconnect_delay(n).total_seconds() for n in (1, 2, 3, 4, 9, 10, 10**9)]
    assert waits == [1, 2, 4, 8, 256, 300, 300]
    assert GatewayLimits().call_timeout.total_seconds() == 60


def test_foreign_words_become_one_short_clean_line() -> None:
    assert short("a\x1b[31m\nb\u202ec\t d") == "a\\x1b[31m b\\u202ec d"
    assert short("x" * 500) == "x" * 199 + "…"
