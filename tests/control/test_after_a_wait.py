"""What a call that waited for its turn may do is judged by what holds then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from mcpproxy.core.control import Bounds, Control, Profile, ServerControl
from mcpproxy.core.errors import UnknownTool
from tests.control.test_roads import HEADERS, answer_at, site_of
from tests.gateway.world import Site, until
from tests.peers.mcp_client import connect

pytestmark = pytest.mark.anyio

ONE = ServerControl(bounds=Bounds(at_once=1, waiting=5, patience=timedelta(seconds=30)))
READING = Profile("reading", routing_mode="direct")
BEFORE = Control(servers={"up": ONE}, profiles={"reading": READING})


class Busy:
    """A server of which `hold` takes the only place until `release`; `reached` are the others."""

    def __init__(self) -> None:
        self.server, self.release, self.reached = MCPServer("busy"), asyncio.Event(), 0

        @self.server.tool()
        async def hold() -> str:
            """Wait until released."""
            await self.release.wait()
            return "held"

        @self.server.tool()
        def act() -> str:
            """Do something."""
            self.reached += 1
            return "done"


@asynccontextmanager
async def busy_site(busy: Busy) -> AsyncIterator[Site]:
    async with site_of(busy.server, control=BEFORE) as site:
        held = asyncio.create_task(answer_at(site, "/all", "up__hold", {}))
        await waiting(site, 0, active=1)
        yield site
        assert await held == "held"


async def waiting(site: Site, count: int, *, active: int) -> None:
    loads = site.gateway.governor.loads
    await until(lambda: ("up", active, count) in {(e.server, e.active, e.waiting) for e in loads()})


async def becomes(site: Site, control: Control) -> None:
    await site.gateway.apply({"up": site.gateway._pool.get("up").upstream}, control)


@pytest.mark.parametrize("place", ["/all", "/s/up", "/p/reading"])
async def test_a_tool_that_was_switched_off_meanwhile_is_not_called(place: str) -> None:
    busy, name = Busy(), "act" if place == "/s/up" else "up__act"
    async with busy_site(busy) as site:
        asking = asyncio.create_task(answer_at(site, place, name, {}))
        await waiting(site, 1, active=1)
        await becomes(site, replace(BEFORE, servers={"up": replace(ONE, disabled_tools=("act",))}))
        busy.release.set()
        assert "has no tool act any more" in await asking
        assert busy.reached == 0
        assert "denied" in {call.outcome for call in site.heard.calls}


@pytest.mark.parametrize("profiles", [{}, {"reading": replace(READING, deny=("up:act",))}])
async def test_a_profile_that_became_narrower_meanwhile_holds(
    profiles: dict[str, Profile],
) -> None:
    busy = Busy()
    async with busy_site(busy) as site:
        asking = asyncio.create_task(answer_at(site, "/p/reading", "up__act", {}))
        await waiting(site, 1, active=1)
        await becomes(site, replace(BEFORE, profiles=profiles))
        busy.release.set()
        assert "has no tool act any more" in await asking
        assert busy.reached == 0


@pytest.mark.parametrize("profiles", [{}, {"reading": replace(READING, servers=frozenset())}])
async def test_what_is_read_is_judged_again_too(profiles: dict[str, Profile]) -> None:
    busy = Busy()

    @busy.server.resource("note://one")
    def note() -> str:
        """A note."""
        busy.reached += 1
        return "note"

    async with busy_site(busy) as site:
        await site.offered("up")
        asking = asyncio.create_task(read_at(site, "/p/reading", "up+note://one"))
        await waiting(site, 1, active=1)
        await becomes(site, replace(BEFORE, profiles=profiles))
        busy.release.set()
        assert "up is not here any more" in await asking
        assert busy.reached == 0


async def read_at(site: Site, place: str, uri: str) -> str:
    """What it says, or why it cannot be read."""
    async with connect(f"{site.url}{place}", headers=HEADERS, mode="legacy") as client:
        try:
            return str(await client.read_resource(uri))
        except MCPError as error:
            return str(error)


async def test_over_rest_the_tool_is_unknown_then() -> None:
    busy = Busy()
    async with busy_site(busy) as site:
        asking = asyncio.create_task(site.gateway.call_tool("up", "act", b"{}"))
        await waiting(site, 1, active=1)
        await becomes(site, replace(BEFORE, servers={"up": replace(ONE, disabled_tools=("act",))}))
        busy.release.set()
        with pytest.raises(UnknownTool, match="nothing was sent"):
            await asking
        assert busy.reached == 0


async def test_what_nothing_changed_for_is_called() -> None:
    busy = Busy()
    async with busy_site(busy) as site:
        asking = asyncio.create_task(answer_at(site, "/p/reading", "up__act", {}))
        await waiting(site, 1, active=1)
        busy.release.set()
        assert await asking == "done"
