"""A logout is remembered from the ledger and heard as it happens."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.ledger import LedgerLine, login_line, logout_line
from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import LoggedOut, LoginSucceeded
from mcpproxy.observability.bus import Bus
from mcpproxy.observability.logouts import Logouts
from mcpproxy.observability.monitor import Monitor
from tests.web.stubs import NOW, ManualClock, World, grant

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(minutes=5)
ONE = grant("one", issued_at=NOW, life=timedelta(hours=1))


async def test_the_last_line_of_the_ledger_decides() -> None:
    ledger = {
        "out": [login_line(ONE), logout_line(ONE, LATER, None)],
        "in again": [logout_line(ONE, NOW, None), login_line(ONE)],
        "never": [],
    }
    asked: list[int] = []

    async def load(server: str, limit: int) -> Sequence[LedgerLine]:
        asked.append(limit)
        return ledger[server][-limit:]

    logouts = Logouts(ManualClock())
    await logouts.recall(ledger, load)
    assert {server: logouts.logged_out_at(server) for server in ledger} == {
        "out": LATER,
        "in again": None,
        "never": None,
    }
    assert asked == [1, 1, 1]


async def test_a_store_that_cannot_be_read_leaves_it_unknown() -> None:
    async def load(server: str, limit: int) -> Sequence[LedgerLine]:
        raise StoreUnavailable("the disk is failing", next_step="look at the disk")

    logouts = Logouts(ManualClock())
    await logouts.recall(["one"], load)
    assert logouts.logged_out_at("one") is None


async def test_what_is_heard_counts_from_then_on() -> None:
    clock = ManualClock(LATER)
    logouts = Logouts(clock)
    logouts.hear(LoggedOut("one"))
    assert logouts.logged_out_at("one") == LATER

    async def load(server: str, limit: int) -> Sequence[LedgerLine]:
        return [logout_line(ONE, NOW, None)]

    await logouts.recall(["one"], load)
    assert logouts.logged_out_at("one") == LATER, "what was read is older than what was heard"
    logouts.hear(LoginSucceeded("one", "flow", None))
    assert logouts.logged_out_at("one") is None


async def test_health_says_who_logged_out_and_when() -> None:
    world = World()
    world.servers["one"] = Upstream("one", url="https://one.example/mcp")
    world.connection_facts["one"] = Connection(
        ConnectionState.ERROR, trouble=Trouble.LOGIN_NEEDED, error="401"
    )
    logouts, bus = Logouts(world.clock), Bus(world.clock)
    monitor = Monitor(
        world.clock, world, world, world, world.pending, bus, logged_out=logouts.logged_out_at
    )
    assert monitor.health("one").cause == "login_required"
    logouts.hear(LoggedOut("one"))
    assert monitor.health("one").detail.startswith("You logged out at 2026-01-12T14:05:00Z")
    world.add_oauth("one")
    world.connection_facts["one"] = replace(
        world.connection_facts["one"], state=ConnectionState.CONNECTED
    )
    assert monitor.health("one").cause == "refresh_scheduled"
