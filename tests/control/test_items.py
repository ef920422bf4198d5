"""What is no tool takes its turn at a server, has its time and is told of like a call."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.control import Arguments, Bounds, Control, ServerControl
from mcpproxy.core.notices import ItemAsked
from mcpproxy.gateway.access import Caller, Permit
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.in_turn import holder_of, item_of
from mcpproxy.gateway.shares import Holder
from mcpproxy.gateway.wire import jsonrpc
from tests.gateway.by_hand import Peer, a_peer, a_site
from tests.gateway.hostile import Scripted, Seen
from tests.gateway.world import KEY, Site, until

pytestmark = pytest.mark.anyio
LONG = timedelta(seconds=30)
URI, SECRET = "db://me:canary@host/table?key=canary#canary", "canary"
RESULTS: dict[str, Any] = {
    "resources/list": {"resources": [{"uri": URI, "name": "table"}]},
    "resources/templates/list": {"resourceTemplates": []},
    "prompts/list": {"prompts": [{"name": "review"}]},
    "resources/read": {"contents": [{"uri": URI, "text": "found"}]},
    "prompts/get": {"messages": []},
    "completion/complete": {"completion": {"values": ["x"]}},
    "shop/order": {"done": True},
}
CAPABILITIES: dict[str, Any] = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
REQUESTS: dict[str, dict[str, Any]] = {
    "resources/read": {"uri": URI},
    "prompts/get": {"name": "review", "arguments": {"what": "it"}},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "review"},
        "argument": {"name": "what", "value": "i"},
    },
}


@dataclass
class Slow:
    """A server that answers what it is asked for once it may; `asked` are the methods."""

    may: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, seen: Seen) -> Any:
        if seen.method == "initialize":
            said = {"capabilities": CAPABILITIES, "serverInfo": {"name": "s", "version": "1"}}
            return {"result": {**said, "protocolVersion": "2025-11-25"}}
        if seen.method in REQUESTS or seen.method == "shop/order":
            self.asked.append(seen.method)
            await self.may.wait()
        known = RESULTS.get(seen.method or "")
        return None if known is None else {"result": known}


def who(scope: Any) -> Caller | None:
    headers = dict(scope["headers"])
    if headers.get(b"x-api-key") != KEY.encode():
        return None
    name = headers.get(b"x-caller", b"owner").decode()
    return Caller(name, permits=frozenset({Permit.WRITE})) if name == "writer" else Caller(name)


@asynccontextmanager
async def a_server(
    path: str = "/s/up", **fields: Any
) -> AsyncIterator[tuple[Slow, Site, Callable[..., Coroutine[Any, Any, Any]]]]:
    """The server, the gateway before it, and how a client asks it for something."""
    slow = Slow()
    async with a_site(Scripted(slow), who=who, **fields) as site, a_peer(site, path) as peer:
        await site.offered("up")
        await peer.begin()

        async def ask(method: str, **params: Any) -> Any:
            return (await posted(peer, method, **params)).json()

        yield slow, site, ask


async def posted(peer: Peer, method: str, **params: Any) -> Any:
    return await peer.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def told(site: Site) -> list[ItemAsked]:
    return [notice for notice in site.heard.notices if isinstance(notice, ItemAsked)]


def bounded(**limits: Any) -> Control:
    return Control(servers={"up": ServerControl(**limits)})


async def test_it_takes_a_turn_at_its_server() -> None:
    control = bounded(bounds=Bounds(at_once=1, waiting=0, patience=LONG))
    async with a_server(control=control) as (slow, site, ask):
        for number, method in enumerate((*REQUESTS, "shop/order")):
            params = REQUESTS.get(method, {})
            slow.may.clear()
            first = asyncio.create_task(ask(method, **params))
            await until(lambda count=number + 1: len(slow.asked) == count)  # type: ignore[misc]
            refused = await ask(method, **params)
            assert "up has 1 call under way" in refused["error"]["message"]
            # What lists what there is waits for nobody.
            assert "result" in await ask("resources/list")
            slow.may.set()
            assert (await first)["result"] == RESULTS[method]
            assert [(each.method, each.outcome) for each in told(site)[-2:]] == [
                (method, "overloaded"),
                (method, "ok"),
            ]
        assert len(told(site)) == 8


async def test_it_has_the_time_of_its_server() -> None:
    control = bounded(
        call_timeout=timedelta(milliseconds=50), tool_timeouts=(("*", timedelta(minutes=5)),)
    )
    async with a_server(control=control) as (slow, site, ask):
        for method, params in REQUESTS.items():
            said = (await ask(method, **params))["error"]["message"]
            assert f"up did not answer {method} within 0.05 s" in said
        assert [each.outcome for each in told(site)] == ["unavailable"] * 3
        slow.may.set()


async def test_it_is_told_who_asked_for_what_and_nothing_that_may_be_secret() -> None:
    async with a_server() as (slow, site, _):
        slow.may.set()
        for path, uri, prompt in (
            ("/s/up", URI, "review"),
            ("/all", f"up+{URI}", "up__review"),
            ("/call", f"up+{URI}", "up__review"),
        ):
            async with a_peer(site, path) as peer:
                await peer.begin()
                ref = {"ref": {"type": "ref/prompt", "name": prompt}}
                await posted(peer, "resources/read", uri=uri)
                await posted(peer, "prompts/get", **{**REQUESTS["prompts/get"], "name": prompt})
                await posted(
                    peer, "completion/complete", **{**REQUESTS["completion/complete"], **ref}
                )
            read, got, completed = told(site)[-3:]
            assert (read.server, read.item, read.method) == (
                "up",
                "db://host/table",
                "resources/read",
            )
            assert (read.outcome, read.caller, read.client) == ("ok", "owner", "t")
            assert (got.item, completed.item) == ("review", "review")
            assert (got.bytes_in, got.bytes_out) == (14, 16)
            assert read.arguments is None
        assert len(told(site)) == 9
        assert SECRET not in repr(told(site))


async def test_what_was_asked_for_exactly_is_told_where_arguments_are_kept() -> None:
    async with a_server(control=Control(arguments=Arguments.KEPT)) as (slow, site, ask):
        slow.may.set()
        for method, params in REQUESTS.items():
            await ask(method, **params)
        read, got, completed = (each.arguments or b"" for each in told(site))
        assert (URI.encode() in read, b'"it"' in got, b'"value"' in completed) == (True,) * 3


async def test_what_is_not_there_for_a_caller_is_told_as_denied() -> None:
    async with a_server("/all") as (_, site, ask):
        await ask("resources/read", uri="up+nothing")
        await ask("prompts/get", name="up__nothing")
        missing = {"type": "ref/resource", "uri": "nothing://x"}
        await ask("completion/complete", ref=missing, argument={"name": "a", "value": ""})
        assert [(each.item, each.outcome) for each in told(site)] == [
            ("up+nothing", "denied"),
            ("up__nothing", "denied"),
            ("nothing://x", "denied"),
        ]
        async with a_peer(site, "/s/up") as peer:
            peer.headers["X-Caller"] = "writer"
            await peer.begin()
            assert "error" in (await posted(peer, "resources/read", uri=URI)).json()
            last = told(site)[-1]
            assert (last.server, last.outcome, last.caller) == ("up", "denied", "writer")
            # Of what nobody has there is nothing to tell.
            await posted(peer, "shop/order")
            assert told(site)[-1] is last


@pytest.mark.parametrize(
    ("method", "params", "item"),
    [
        ("resources/read", {"uri": "file:///a/b?c=d", "name": "misleading"}, "file:///a/b"),
        ("resources/read", {"uri": "https://u:p@h:1/x@y#z"}, "https://h:1/x@y"),
        ("resources/read", {"uri": "readme"}, "readme"),
        ("resources/read", {"uri": 5}, ""),
        ("prompts/get", {"name": "a\nb", "uri": "misleading"}, "a b"),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "a://{b}", "name": "c"}},
            "a://{b}",
        ),
        ("completion/complete", {"ref": [1]}, ""),
        ("shop/order", {}, ""),
    ],
)
def test_an_item_is_named_by_what_the_server_goes_by(
    method: str, params: dict[str, Any], item: str
) -> None:
    assert item_of(method, jsonrpc.members(jsonrpc.raw(params))) == item


def test_turns_are_by_session_and_a_client_without_one_makes_none_up() -> None:
    def holder(client: Client | None) -> Holder:
        return holder_of(Ask(Caller("me"), "tools/call", {}, client=client))

    assert holder(Client(Era.LEGACY, "s1")) == Holder("me", "s1")
    assert holder(Client(Era.LEGACY, "s2")) == Holder("me", "s2")
    assert holder(Client(Era.MODERN, "m1")) == holder(Client(Era.MODERN, "m2")) == holder(None)


async def test_a_method_that_a_client_makes_up_is_told_shortly() -> None:
    async with a_server() as (slow, site, ask):
        slow.may.set()
        assert "result" in await ask("shop/" + "x" * 100_000)
        (one,) = told(site)
        assert one.method.startswith("shop/xxx")
        assert len(one.method) <= 200


async def test_who_goes_while_it_waits_for_its_turn_met_no_bound() -> None:
    control = bounded(bounds=Bounds(at_once=1, waiting=5, patience=LONG))
    async with a_server(control=control) as (slow, site, ask):
        first = asyncio.create_task(ask("shop/order"))
        await until(lambda: len(slow.asked) == 1)
        second = asyncio.create_task(site.gateway.call_tool("up", "echo", b"{}"))
        await until(lambda: 1 in {each.waiting for each in site.gateway.governor.loads()})
        second.cancel()
        await asyncio.wait((second,))
        assert [each.outcome for each in site.heard.calls] == ["unavailable"]
        slow.may.set()
        assert "result" in await first
