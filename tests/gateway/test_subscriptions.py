"""Subscriptions to resources: counted, told by the address that was asked for, never left over."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from mcpproxy.core.errors import UpstreamUnavailable
from mcpproxy.gateway.items import MAX_URI
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.subscriptions import Subscriptions, Told, Wish
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members
from tests.gateway.world import until

pytestmark = pytest.mark.anyio
LIMITS = GatewayLimits(max_subscriptions=3)


@dataclass(eq=False)
class Upstream:
    """What it is subscribed to, and every request in its order."""

    held: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    refuses: bool = False
    is_gone: bool = False
    gate: asyncio.Event | None = None

    async def subscribe(self, uri: str) -> Members:
        return await self._asked("subscribe", uri)

    async def unsubscribe(self, uri: str) -> Members:
        return await self._asked("unsubscribe", uri)

    async def _asked(self, what: str, uri: str) -> Members:
        self.asked.append((what, uri))
        if self.gate is not None:
            await self.gate.wait()
        if self.is_gone:
            raise UpstreamUnavailable("it reconnects")
        if self.refuses:
            return jsonrpc.error(-32002, "no such resource")
        (self.held.add if what == "subscribe" else self.held.discard)(uri)
        return jsonrpc.result(b"{}")


class World:
    def __init__(self) -> None:
        self.live: Upstream | None = Upstream()
        self.subscriptions = Subscriptions(lambda server: self.live, LIMITS)

    def told(self, uri: str) -> list[Told]:
        return sorted(self.subscriptions.told("s", uri), key=lambda told: told.shown)

    async def end(self) -> None:
        await self.subscriptions.stop()


def wish(key: str, uri: str = "x://1", shown: str | None = None) -> Wish:
    return Wish(key, "s", uri, uri if shown is None else shown)


@pytest.fixture
async def world() -> World:
    return World()


async def test_an_upstream_is_asked_once_for_many_and_as_long_as_one_wants_it(world: World) -> None:
    assert world.live is not None
    for key in "abc":
        assert "result" in await world.subscriptions.subscribe(wish(key))
    await world.subscriptions.unsubscribe(wish("a"))
    world.subscriptions.forget("b")
    assert world.live.asked == [("subscribe", "x://1")]
    assert world.told("x://1") == [Told("x://1", frozenset("c"))]
    await world.subscriptions.unsubscribe(wish("c"))
    assert world.live.asked == [("subscribe", "x://1"), ("unsubscribe", "x://1")]
    assert world.told("x://1") == []
    assert len(world.subscriptions) == 0


async def test_each_is_told_by_the_address_that_it_asked_for(world: World) -> None:
    await world.subscriptions.subscribe(wish("a"))
    await world.subscriptions.subscribe(wish("b", shown="s+x://1"))
    await world.subscriptions.subscribe(wish("a", shown="s+x://1"))
    assert world.told("x://1") == [
        Told("s+x://1", frozenset("ab")),
        Told("x://1", frozenset("a")),
    ]


@pytest.mark.parametrize(
    ("whole", "part", "is_told"),
    [
        ("x://a", "x://a/b", True),
        ("x://a/", "x://a/b", True),
        ("x://a", "x://a?q", True),
        ("x://a", "x://ab", False),
        ("x://a/b", "x://a", False),
    ],
)
async def test_who_wants_a_whole_hears_of_its_parts(
    world: World, whole: str, part: str, is_told: bool
) -> None:
    await world.subscriptions.subscribe(wish("a", whole, f"s+{whole}"))
    assert world.told(part) == ([Told(f"s+{part}", frozenset("a"))] if is_told else [])


async def test_a_refusal_is_the_answer_and_leaves_nothing(world: World) -> None:
    assert world.live is not None
    world.live.refuses = True
    error = jsonrpc.error_of(await world.subscriptions.subscribe(wish("a")))
    assert error is not None
    assert error.code == -32002
    assert len(world.subscriptions) == 0
    assert world.told("x://1") == []
    await world.end()


async def test_an_upstream_that_is_not_there_is_an_error_and_leaves_nothing(world: World) -> None:
    world.live = None
    with pytest.raises(UpstreamUnavailable):
        await world.subscriptions.subscribe(wish("a"))
    assert len(world.subscriptions) == 0
    await world.end()


async def test_a_client_subscribes_to_so_many_and_no_more(world: World) -> None:
    for number in range(LIMITS.max_subscriptions):
        assert "result" in await world.subscriptions.subscribe(wish("a", f"x://{number}"))
    error = jsonrpc.error_of(await world.subscriptions.subscribe(wish("a", "x://more")))
    assert error is not None
    assert error.code == jsonrpc.INVALID_PARAMS
    assert "result" in await world.subscriptions.subscribe(wish("b", "x://more"))


async def test_to_unsubscribe_from_what_was_never_subscribed_to_is_no_error(world: World) -> None:
    assert world.live is not None
    assert "result" in await world.subscriptions.unsubscribe(wish("a"))
    assert world.live.asked == []


async def test_a_successor_of_the_upstream_is_subscribed_to_again(world: World) -> None:
    await world.subscriptions.subscribe(wish("a"))
    world.live = later = Upstream()
    world.subscriptions.resume("s")
    await until(lambda: later.held == {"x://1"})
    world.subscriptions.resume("s")
    await world.subscriptions.unsubscribe(wish("a"))
    assert later.asked == [("subscribe", "x://1"), ("unsubscribe", "x://1")]


async def test_a_client_that_goes_while_it_subscribes_leaves_nothing(world: World) -> None:
    live = world.live
    assert live is not None
    live.gate = asyncio.Event()
    task = asyncio.create_task(world.subscriptions.subscribe(wish("a")))
    await until(lambda: bool(live.asked))
    task.cancel()
    await asyncio.wait([task])
    world.subscriptions.forget("a")
    live.gate.set()
    await until(lambda: not live.held)
    assert len(world.subscriptions) == 0
    assert "result" in await world.subscriptions.subscribe(wish("b"))
    await until(lambda: live.held == {"x://1"})


async def test_whatever_comes_and_goes_the_upstream_holds_what_is_wanted() -> None:
    """A thousand steps in an order that is the same in every run, many of them at once."""
    dice, world = random.Random(4), World()
    running: set[asyncio.Task[object]] = set()
    for _ in range(1000):
        live = world.live
        assert live is not None
        key, uri = dice.choice("abcd"), f"x://{dice.randint(1, 4)}"
        step = dice.random()
        if step < 0.45:
            running.add(asyncio.create_task(world.subscriptions.subscribe(wish(key, uri))))
        elif step < 0.85:
            running.add(asyncio.create_task(world.subscriptions.unsubscribe(wish(key, uri))))
        elif step < 0.95:
            world.subscriptions.forget(key)
        else:
            live.gate = None if live.gate is not None else asyncio.Event()
            if live.gate is None:
                continue
            asyncio.get_running_loop().call_soon(live.gate.set)
        if dice.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.wait(running)
    live = world.live
    assert live is not None

    def wanted() -> set[str]:
        return {f"x://{n}" for n in range(1, 5) if world.told(f"x://{n}")}

    await until(lambda: live.held == wanted(), lambda: (live.held, wanted()))
    for key in "abcd":
        world.subscriptions.forget(key)
    await until(lambda: not live.held)
    assert len(world.subscriptions) == 0
    assert world.subscriptions._watches == {}


@pytest.mark.parametrize("shown", [None, "x://short"])
async def test_a_uri_that_is_too_long_is_refused_and_not_kept(
    world: World, shown: str | None
) -> None:
    assert world.live is not None
    longest = "x://" + "x" * (MAX_URI - 4)
    assert "result" in await world.subscriptions.subscribe(wish("a", longest))
    refused = await world.subscriptions.subscribe(wish("a", longest + "x", shown))
    assert b"2048" in bytes(refused["error"])
    assert len(world.live.asked) == len(world.subscriptions) == 1
    assert "result" in await world.subscriptions.unsubscribe(wish("a", longest + "x"))
    assert len(world.live.asked) == 1


async def test_a_resource_that_could_not_be_given_up_is_not_kept_either(world: World) -> None:
    assert world.live is not None
    gone = world.live
    for number in range(3):
        assert "result" in await world.subscriptions.subscribe(wish("a", f"x://{number}"))
    gone.is_gone = True
    assert "result" in await world.subscriptions.unsubscribe(wish("a", "x://0"))
    world.subscriptions.forget("a")
    await until(lambda: len(gone.asked) == 6)
    await until(lambda: world.subscriptions.watched == 0)
    gone.is_gone = False
    assert "result" in await world.subscriptions.subscribe(wish("a", "x://0"))
    assert gone.asked[-1] == ("subscribe", "x://0")
