"""Health as all surfaces see it, and how soon a change is told."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.errors import StoreTrouble, UnknownServer
from mcpproxy.core.model import FailureKind, FailureRun, RefreshFailure, Upstream
from mcpproxy.core.notices import LoggedOut, Notice, ServersChanged, StoreTroubled
from mcpproxy.observability.bus import Event
from mcpproxy.web.parts import WebParts
from tests.web.stubs import NOW, World, web_parts

pytestmark = pytest.mark.anyio

DEADLINE = timedelta(seconds=10)


class Watch:
    """A running monitor and what it publishes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.parts: WebParts = web_parts(world)
        self.heard = self.parts.bus.subscribe()

    async def __aenter__(self) -> "Watch":
        self._task = asyncio.create_task(self.parts.monitor.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def next(self) -> Notice:
        event = await self.heard.next(DEADLINE)
        assert isinstance(event, Event)
        return event.notice


async def test_healths_are_sorted_and_unknown_names_are_refused() -> None:
    world = World()
    world.add_oauth("zeta")
    world.add_oauth("alpha")
    monitor = web_parts(world).monitor
    assert list(monitor.healths()) == ["alpha", "zeta"]
    assert monitor.health("zeta").line == "Token refresh scheduled for 14:53"
    with pytest.raises(UnknownServer, match="nobody"):
        monitor.health("nobody")


class Broken(World):
    """A world in which a bug hides the connection of one server."""

    broken = "beta"

    def connection(self, server: str) -> Connection:
        if server == self.broken:
            raise ZeroDivisionError("secret words of a bug")
        return super().connection(server)


async def test_a_bug_about_one_server_hides_no_other_and_is_told_once() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    world = Broken()
    for name in ("alpha", "beta", "gamma"):
        world.add_oauth(name)
    async with Watch(world) as watch:
        healths = watch.parts.monitor.healths()
        assert healths["alpha"].line == healths["gamma"].line == "Token refresh scheduled for 14:53"
        assert healths["beta"].line == "Health unknown: a bug of mcpproxy (ZeroDivisionError)"
        assert "beta" in told[0]["message"]
        assert len(told) == 1
        text = watch.parts.metrics.text()
        assert 'mcpproxy_servers{state="connected"} 2' in text
        world.servers["gamma"] = replace(world.servers["gamma"], enabled=False)
        assert await watch.next() == ServersChanged("gamma", "disabled")


class Counting(World):
    """Counts how often the facts of a connection are asked for."""

    asked = 0

    def connection(self, server: str) -> Connection:
        self.asked += 1
        return super().connection(server)


async def test_who_only_counts_hears_what_the_watch_saw_and_nobody_is_looked_at_again() -> None:
    world = Counting()
    for name in ("beta", "alpha"):
        world.add_oauth(name)
    async with Watch(world) as watch:
        monitor = watch.parts.monitor
        world.servers["beta"] = replace(world.servers["beta"], enabled=False)
        assert await watch.next() == ServersChanged("beta", "disabled")
        await asyncio.sleep(0)
        asked, counted = world.asked, monitor.standings()
        assert world.asked == asked
        told = {name: (each.status, each.level) for name, each in counted.items()}
        assert list(told.items()) == [
            (name, (each.status, each.level)) for name, each in monitor.healths().items()
        ]
        asked = world.asked
        world.clock.advance(timedelta(seconds=3))  # the watch is late: it is not believed
        assert len(monitor.standings()) == 2
        assert world.asked > asked


async def test_a_pending_login_is_part_of_the_picture() -> None:
    world = World()
    world.servers["one"] = Upstream("one", url="https://one.example/mcp")
    monitor = web_parts(world).monitor
    await world.begin("one")
    assert monitor.health("one").cause == "login_pending"


async def test_a_change_is_published_within_a_second_without_anybody_telling() -> None:
    world = World()
    world.add_oauth("one")
    async with Watch(world) as watch:
        loop = asyncio.get_running_loop()
        began = loop.time()
        failure = RefreshFailure(FailureKind.NOT_SENT, "connection refused")
        world.grant_facts["one"] = replace(
            world.grant_facts["one"], failures=FailureRun(1, NOW, NOW, failure)
        )
        assert await watch.next() == ServersChanged("one", "refresh_retrying")
        assert loop.time() - began < 1.5


async def test_a_notice_makes_the_monitor_look_at_once() -> None:
    world = World()
    world.add_oauth("one")
    async with Watch(world) as watch:
        world.connection_facts["one"] = replace(
            world.connection_facts["one"], state=ConnectionState.ERROR, tool_count=0
        )
        watch.parts.monitor.hear(LoggedOut("one"))
        assert isinstance(await watch.next(), ServersChanged)


async def test_the_passing_of_time_changes_health_too() -> None:
    world = World()
    world.add_oauth("one", refreshed_at=None)
    tokens = replace(world.grant_facts["one"].tokens, refresh_token=None)
    world.grant_facts["one"] = replace(world.grant_facts["one"], tokens=tokens)
    async with Watch(world) as watch:
        world.clock.advance(timedelta(hours=2))
        assert await watch.next() == ServersChanged("one", "no_refresh_token")


async def test_added_and_removed_servers_are_told() -> None:
    world = World()
    async with Watch(world) as watch:
        world.add_oauth("one")
        assert await watch.next() == ServersChanged("one", "added")
        del world.servers["one"]
        assert await watch.next() == ServersChanged("one", "removed")


async def test_a_countdown_alone_is_no_change() -> None:
    world = World()
    failure = RefreshFailure(FailureKind.NOT_SENT, "refused", retry_at=NOW + timedelta(minutes=30))
    world.add_oauth("one", failures=FailureRun(1, NOW, NOW, failure))
    async with Watch(world) as watch:
        before = watch.parts.monitor.health("one").line
        world.clock.advance(timedelta(seconds=5))
        assert watch.parts.monitor.health("one").line != before
        world.add_oauth("two")
        assert await watch.next() == ServersChanged("two", "added")


async def test_notices_without_end_keep_no_other_server_from_being_looked_at() -> None:
    world = World()
    for name in ("busy", "quiet"):
        world.add_oauth(name)
    async with Watch(world) as watch:
        world.connection_facts["quiet"] = Connection(ConnectionState.CONNECTING)
        chatter = asyncio.create_task(_chatter(watch.parts))
        try:
            assert await watch.next() == ServersChanged("quiet", "connecting")
        finally:
            chatter.cancel()


async def _chatter(parts: WebParts) -> None:
    while True:
        parts.monitor.hear(LoggedOut("busy"))
        await asyncio.sleep(0)


async def test_what_concerns_all_is_looked_at_everywhere_at_once() -> None:
    world = World()
    for name in ("one", "two"):
        world.add_oauth(name)
    async with Watch(world) as watch:
        loop = asyncio.get_running_loop()
        began = loop.time()
        world.trouble = StoreTrouble.FULL
        watch.parts.monitor.hear(StoreTroubled("full", "the disk is full"))
        assert await watch.next() == ServersChanged("one", "store_unwritable")
        assert await watch.next() == ServersChanged("two", "store_unwritable")
        assert loop.time() - began < 0.9


class Counted(World):
    """A world that counts how often a server's facts are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def connection(self, server: str) -> Connection:
        self.asked += 1
        return super().connection(server)


async def test_a_notice_about_one_of_many_servers_is_a_look_at_that_one() -> None:
    world = Counted()
    for number in range(300):
        world.add_oauth(f"server-{number}")
    async with Watch(world) as watch:
        before = world.asked
        world.connection_facts["server-7"] = Connection(ConnectionState.CONNECTING)
        watch.parts.monitor.hear(LoggedOut("server-7"))
        assert await watch.next() == ServersChanged("server-7", "connecting")
        assert world.asked - before < 10
