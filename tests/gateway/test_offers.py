"""Lists of upstreams: pages, bounds, items that hide themselves, and when they are asked for."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.items import (
    Hidden,
    Item,
    Kind,
    read_prompt,
    read_resource,
    read_template,
)
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.offering import Offering
from mcpproxy.gateway.offers import Listed, list_items, list_tools
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members
from tests.gateway.world import until

pytestmark = pytest.mark.anyio
LIMITS = GatewayLimits(
    relist_every=timedelta(seconds=30),
    relist_pause=timedelta(milliseconds=1),
    list_timeout=timedelta(milliseconds=200),
    max_pages=5,
    max_items=50,
    max_listing=100_000,
    max_hidden=10,
)
TOOL = {"name": "t", "inputSchema": {"type": "object"}}
RESOURCE = {"uri": "x://1", "name": "one"}
TEMPLATE = {"uriTemplate": "x://{id}", "name": "any"}
PROMPT = {"name": "p", "arguments": [{"name": "a", "required": True}]}
LISTS = {
    "tools/list": ("tools", TOOL),
    "resources/list": ("resources", RESOURCE),
    "resources/templates/list": ("resourceTemplates", TEMPLATE),
    "prompts/list": ("prompts", PROMPT),
}
EVERYTHING: dict[str, Any] = {"tools": {}, "resources": {}, "prompts": {}}


@dataclass
class Server:
    """Answers lists as `answers` says: a result, an error as (code, words), or what is awaited."""

    capabilities: dict[str, Any] = field(default_factory=lambda: dict(EVERYTHING))
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Call] = field(default_factory=list)

    @property
    def agreed(self) -> Agreed:
        result = {"capabilities": jsonrpc.raw(self.capabilities)}
        return Agreed("2025-11-25", result)

    async def request(self, call: Call) -> Members:
        self.asked.append(call)
        member, item = LISTS[call.method]
        answer = self.answers.get(call.method, {member: [item]})
        if callable(answer):
            answer = await answer(call)
        if isinstance(answer, tuple):
            return jsonrpc.error(*answer)
        return jsonrpc.result(jsonrpc.encode(answer))

    def count(self, method: str) -> int:
        return sum(1 for call in self.asked if call.method == method)


async def listed(kind: Kind, server: Server) -> Listed[Any]:
    if kind is Kind.TOOLS:
        return await list_tools(server.request, server.agreed, LIMITS)
    return await list_items(kind, server.request, server.agreed, LIMITS)


def names(found: Listed[Any]) -> list[str]:
    return [item.name for item in found.items]


# --- one item -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "definition"),
    [
        (read_resource, {**RESOURCE, "size": 7, "mimeType": "a/b", "x": 1}),
        (read_resource, {**RESOURCE, "title": None, "annotations": {"priority": 0.5}}),
        (read_template, {**TEMPLATE, "_meta": {"a": 1}, "icons": [{"src": "data:"}]}),
        (read_prompt, {**PROMPT, "title": "P", "description": None}),
        (read_prompt, {"name": "bare"}),
    ],
)
def test_a_definition_passes_to_the_letter(
    read: Callable[[Any], Item | Hidden], definition: dict[str, Any]
) -> None:
    raw = jsonrpc.raw(definition)
    item = read(raw)
    assert isinstance(item, Item), item
    assert item.definition == bytes(raw)


@pytest.mark.parametrize(
    ("read", "definition", "named"),
    [
        (read_resource, {"name": "n"}, "without a uri"),
        (read_resource, {"uri": "", "name": "n"}, "without a uri"),
        (read_resource, {"uri": "x://1"}, "x://1"),
        (read_resource, {"uri": 7, "name": "n"}, "without a uri"),
        (read_resource, {"uri": "x:" + "y" * 3000, "name": "n"}, "x:yyy"),
        (read_resource, {**RESOURCE, "size": "big"}, "x://1"),
        (read_resource, {**RESOURCE, "annotations": {"audience": ["robot"]}}, "x://1"),
        (read_resource, {**RESOURCE, "annotations": {"priority": 2}}, "x://1"),
        (read_template, {"uri": "x://1", "name": "n"}, "without a uriTemplate"),
        (read_template, {**TEMPLATE, "icons": [{}]}, "x://{id}"),
        (read_prompt, {"name": ""}, "without a name"),
        (read_prompt, {"name": "p", "arguments": {"a": 1}}, "p"),
        (read_prompt, {"name": "p", "arguments": [{}]}, "p"),
        (read_prompt, ["p"], "that is no object"),
    ],
)
def test_what_a_client_could_not_read_is_hidden_and_named(
    read: Callable[[Any], Item | Hidden], definition: object, named: str
) -> None:
    hidden = read(jsonrpc.raw(definition))
    assert isinstance(hidden, Hidden), hidden
    assert hidden.name.startswith(named)
    assert hidden.reason


# --- one list -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_malformed_item_hides_itself_and_not_its_list(kind: Kind) -> None:
    method = dict(zip(Kind, LISTS, strict=True))[kind]
    member, item = LISTS[method]
    server = Server(answers={method: {member: [7, {"broken": True}, item]}})
    found = await listed(kind, server)
    assert len(found.items) == 1
    assert len(found.hidden) == 2
    assert {hidden.kind for hidden in found.hidden} == {kind}


async def test_pages_are_followed_to_the_end() -> None:
    async def page(call: Call) -> object:
        cursor = int(jsonrpc.text((call.params or {}).get("cursor")) or "0")
        more = {"nextCursor": str(cursor + 1)} if cursor < 3 else {}
        return {"prompts": [{"name": f"p{cursor}"}], **more}

    server = Server(answers={"prompts/list": page})
    assert names(await listed(Kind.PROMPTS, server)) == ["p0", "p1", "p2", "p3"]


async def test_a_list_without_end_is_cut_off_and_says_so() -> None:
    async def page(call: Call) -> object:
        cursor = int(jsonrpc.text((call.params or {}).get("cursor")) or "0")
        return {"prompts": [{"name": f"p{cursor}"}], "nextCursor": str(cursor + 1)}

    server = Server(answers={"prompts/list": page})
    found = await listed(Kind.PROMPTS, server)
    assert len(found.items) == server.count("prompts/list") == LIMITS.max_pages
    assert [str(hidden) for hidden in found.hidden] == [
        "prompt the rest: only the first 5 pages are taken"
    ]


@pytest.mark.parametrize("cursor", ["same", None])
async def test_a_cursor_that_leads_nowhere_ends_the_list(cursor: str | None) -> None:
    server = Server(answers={"prompts/list": {"prompts": [PROMPT], "nextCursor": cursor}})
    assert names(await listed(Kind.PROMPTS, server)) == ["p"]
    assert server.count("prompts/list") <= 2


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        ([{"name": f"p{number}"} for number in range(60)], "only the first 50 are taken"),
        (
            [{"name": f"p{number}", "title": "x" * 9000} for number in range(20)],
            "only the first 100000 bytes are taken",
        ),
    ],
)
async def test_a_list_has_bounds(prompts: list[Any], reason: str) -> None:
    server = Server(answers={"prompts/list": {"prompts": prompts, "nextCursor": "more"}})
    found = await listed(Kind.PROMPTS, server)
    assert 0 < len(found.items) <= LIMITS.max_items
    assert [hidden.reason for hidden in found.hidden] == [reason]
    assert server.count("prompts/list") == 1


async def test_so_many_hidden_items_are_remembered_and_no_more() -> None:
    server = Server(answers={"prompts/list": {"prompts": [{}] * 1000}})
    assert len((await listed(Kind.PROMPTS, server)).hidden) == LIMITS.max_hidden


async def test_of_two_items_of_one_name_the_first_stays() -> None:
    again = {**PROMPT, "title": "another"}
    server = Server(answers={"prompts/list": {"prompts": [PROMPT, again, PROMPT]}})
    found = await listed(Kind.PROMPTS, server)
    assert found.items[0].definition == jsonrpc.encode(PROMPT)
    assert [str(hidden) for hidden in found.hidden] == ["prompt p: listed twice"]


async def test_what_is_not_declared_is_not_asked_for() -> None:
    server = Server(capabilities={"tools": {}})
    for kind in Kind:
        found = await listed(kind, server)
        assert bool(found.items) is (kind is Kind.TOOLS)
    assert {call.method for call in server.asked} == {"tools/list"}


async def test_a_capability_whose_list_does_not_exist_is_an_empty_list() -> None:
    server = Server(answers={"prompts/list": (jsonrpc.METHOD_NOT_FOUND, "no such method")})
    found = await listed(Kind.PROMPTS, server)
    assert found == Listed(Kind.PROMPTS)


@pytest.mark.parametrize("answer", [(-32603, "out of order"), {}, {"prompts": 7}])
async def test_a_list_that_is_refused_or_none_is_an_error(answer: object) -> None:
    with pytest.raises(ProtocolError, match="prompts/list"):
        await listed(Kind.PROMPTS, Server(answers={"prompts/list": answer}))


# --- kept up to date ----------------------------------------------------------------------------


@dataclass
class Kept:
    server: Server
    offering: Offering
    changes: int = 0
    lines: list[str] = field(default_factory=list)


@asynccontextmanager
async def keeping(server: Server, limits: GatewayLimits = LIMITS) -> AsyncIterator[Kept]:
    """An offering of a server that has just connected."""

    def changed() -> None:
        kept.changes += 1

    lines: list[str] = []
    offering = Offering(server.request, lambda: server.agreed, changed, lines.append, limits)
    kept = Kept(server, offering, 0, lines)
    offering.connected(await list_tools(server.request, server.agreed, limits))
    task = asyncio.create_task(offering.keep())
    try:
        yield kept
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def settled(kept: Kept) -> None:
    async with asyncio.timeout(10):
        await kept.offering.complete.wait()


async def test_all_kinds_are_listed_after_a_connection_and_told_once() -> None:
    async with keeping(Server()) as kept:
        assert [tool.name for tool in kept.offering.offer.tools] == ["t"]
        await settled(kept)
        offer = kept.offering.offer
        shown = [item.name for item in (*offer.resources, *offer.templates, *offer.prompts)]
        assert shown == ["x://1", "x://{id}", "p"]
        assert kept.changes == 1
        assert kept.server.count("tools/list") == 1


@pytest.mark.parametrize(
    ("notification", "methods"),
    [
        ("notifications/tools/list_changed", {"tools/list"}),
        ("notifications/prompts/list_changed", {"prompts/list"}),
        (
            "notifications/resources/list_changed",
            {"resources/list", "resources/templates/list"},
        ),
    ],
)
async def test_a_list_that_changed_is_listed_again_and_no_other(
    notification: str, methods: set[str]
) -> None:
    async with keeping(Server()) as kept:
        await settled(kept)
        kept.server.asked.clear()
        assert kept.offering.heard(notification)
        await until(lambda: len(kept.server.asked) >= len(methods))
        assert {call.method for call in kept.server.asked} == methods
        assert kept.changes == 1  # what came is what was there


async def test_other_notifications_are_none_of_its_business() -> None:
    async with keeping(Server()) as kept:
        assert not kept.offering.heard("notifications/message")


async def test_a_server_that_says_nothing_is_asked_now_and_then() -> None:
    limits = replace(LIMITS, relist_every=timedelta(milliseconds=10))
    async with keeping(Server(), limits) as kept:
        await settled(kept)
        kept.server.answers["tools/list"] = {"tools": [TOOL, {**TOOL, "name": "u"}]}
        await until(lambda: len(kept.offering.offer.tools) == 2)
        await until(lambda: kept.changes == 2)


async def test_a_list_that_fails_leaves_the_others_and_what_it_said_before() -> None:
    async def silent(call: Call) -> object:
        return await asyncio.Future()

    async with keeping(Server()) as kept:
        await settled(kept)
        kept.server.answers["prompts/list"] = (-32603, "out of order")
        kept.server.answers["resources/list"] = silent
        for name in ("tools", "prompts", "resources"):
            kept.offering.heard(f"notifications/{name}/list_changed")
        await until(lambda: len(kept.offering.offer.hidden) == 2)
        offer = kept.offering.offer
        assert offer.tools
        assert offer.prompts
        assert offer.resources
        assert offer.templates
        assert [str(hidden) for hidden in offer.hidden] == [
            "prompt (all): could not be listed: prompts/list was refused: out of order",
            "resource (all): could not be listed: no answer within 0.2 s",
        ]
        assert kept.lines == [f"hidden {hidden}" for hidden in offer.hidden]
        kept.server.answers.clear()
        kept.offering.heard("notifications/prompts/list_changed")
        await until(lambda: len(kept.offering.offer.hidden) == 1)


async def test_what_is_hidden_is_said_once() -> None:
    server = Server(answers={"prompts/list": {"prompts": [{}, PROMPT]}})
    async with keeping(server) as kept:
        await settled(kept)
        for _ in range(3):
            kept.server.asked.clear()
            kept.offering.heard("notifications/prompts/list_changed")
            await until(lambda: kept.server.count("prompts/list") == 1)
        assert len(kept.lines) == 1
        assert json.loads(kept.offering.offer.prompts[0].definition) == PROMPT
