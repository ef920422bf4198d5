"""Sessions that outlive the run of the program that began them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.gateway.eras import Forgetful
from mcpproxy.gateway.session_book import SessionBook, Used
from mcpproxy.gateway.tickets import Ticket, Tickets
from tests.gateway.asking_peer import CAPABLE, FORM, asking, asking_site, heard_in
from tests.gateway.by_hand import LIST, Peer, a_peer, a_site, streaming
from tests.gateway.hostile import Scripted, Seen
from tests.gateway.test_asked_back import NAME, answer_to, begun
from tests.gateway.world import RealClock, Site, until

pytestmark = pytest.mark.anyio
KEY = b"k" * 32


@dataclass
class Later(RealClock):
    """The clock, set forward."""

    by: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


@dataclass
class Runs:
    """One run after the other of the same program, each with a port of its own."""

    memory: Forgetful = field(default_factory=Forgetful)
    clock: Later = field(default_factory=Later)

    @asynccontextmanager
    async def next(self, **fields: Any) -> AsyncIterator[Site]:
        fields = {"memory": self.memory, "session_key": KEY, "clock": self.clock, **fields}
        async with asking_site(**fields) as site:
            yield site


@asynccontextmanager
async def moved(site: Site, peer: Peer, path: str = "") -> AsyncIterator[Peer]:
    """The same client before another run."""
    async with a_peer(site, path) as again:
        again.headers = dict(peer.headers)
        yield again


async def test_a_client_does_not_notice_that_we_were_restarted() -> None:
    runs = Runs()
    async with runs.next() as site, a_peer(site) as peer:
        await begun(peer, "2025-06-18", **CAPABLE)
    async with runs.next() as site, moved(site, peer) as again:
        async with streaming(again, "GET") as news:
            # It was away, and so is all that was said meanwhile.
            assert (await news.next())["method"] == "notifications/tools/list_changed"
            async with streaming(again, "POST", asking(1, [FORM])) as stream:
                question = await stream.next()
                await again.post(answer_to(question, NAME))
                assert heard_in(await stream.next()) == [NAME]
        session = next(iter(site.gateway._down.sessions))
        assert session.introduced.version == "2025-06-18"
        assert session.introduced.capabilities.keys() == CAPABLE.keys()


async def test_its_log_level_is_remembered_too() -> None:
    runs = Runs()
    level = {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "error"}}
    async with runs.next() as site, a_peer(site) as peer:
        await begun(peer)
        await peer.post(level)
    async with runs.next() as site, moved(site, peer) as again:
        assert (await again.post(LIST)).status_code == 200
        assert next(iter(site.gateway._down.sessions)).log_level == "error"


async def test_what_a_client_subscribed_to_is_subscribed_to_again() -> None:
    subscribed: list[str] = []

    async def answer(seen: Seen) -> Any:
        if seen.method == "initialize":
            capabilities = {"resources": {"subscribe": True}, "tools": {}}
            version = seen.message["params"]["protocolVersion"]
            info = {"name": "s", "version": "1"}
            said = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}
            return {"result": said}
        if seen.method in ("resources/subscribe", "resources/unsubscribe"):
            subscribed.append(f"{seen.method} {seen.message['params']['uri']}")
        return None

    def wish(method: str, uri: str) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": uri, "method": method, "params": {"uri": uri}}

    fields: dict[str, Any] = {"memory": Forgetful(), "session_key": KEY}
    async with a_site(Scripted(answer), **fields) as site, a_peer(site, "/s/up") as peer:
        await peer.begin()
        for uri in ("x://one", "x://two"):
            assert "result" in (await peer.post(wish("resources/subscribe", uri))).json()
        assert "result" in (await peer.post(wish("resources/unsubscribe", "x://two"))).json()
    subscribed.clear()
    async with a_site(Scripted(answer), **fields) as site, moved(site, peer, "/s/up") as again:
        assert (await again.post(LIST)).status_code == 200
        await until(lambda: bool(subscribed))
        assert subscribed == ["resources/subscribe x://one"]


async def test_a_session_is_revived_for_its_caller_at_its_place_only() -> None:
    runs = Runs()
    async with runs.next() as site, a_peer(site) as peer:
        await begun(peer)
    async with runs.next() as site:
        async with moved(site, peer, "/s/up") as elsewhere:
            assert (await elsewhere.post(LIST)).status_code == 404
        async with moved(site, peer) as again:
            assert (await again.post(LIST, **{"X-Caller": "mallory"})).status_code == 404
            assert (await again.post(LIST)).status_code == 200


async def test_a_session_that_was_deleted_stays_dead_in_the_next_run() -> None:
    runs = Runs()
    async with runs.next() as site, a_peer(site) as peer:
        await begun(peer)
        assert (await peer.http.delete(peer.url, headers=peer.headers)).status_code == 204
        assert (await peer.post(LIST)).status_code == 404
    async with runs.next() as site, moved(site, peer) as again:
        assert (await again.post(LIST)).status_code == 404


@pytest.mark.parametrize(("away", "status"), [(23, 200), (25, 404)])
async def test_the_idle_limit_holds_over_a_restart(away: int, status: int) -> None:
    runs = Runs()
    async with runs.next() as site, a_peer(site) as peer:
        await begun(peer)
        runs.clock.by += timedelta(hours=20)
        assert (await peer.post(LIST)).status_code == 200
    runs.clock.by += timedelta(hours=away)
    async with runs.next() as site, moved(site, peer) as again:
        assert (await again.post(LIST)).status_code == status


async def test_another_key_makes_every_old_id_a_strangers() -> None:
    runs = Runs()
    async with runs.next() as site, a_peer(site) as peer:
        await begun(peer)
    async with runs.next(session_key=b"x" * 32) as site, moved(site, peer) as again:
        assert (await again.post(LIST)).status_code == 404


async def test_a_sibling_with_the_same_key_takes_a_session_over() -> None:
    runs = Runs()
    async with runs.next() as one, runs.next() as two, a_peer(one) as peer:
        await begun(peer)
        async with moved(two, peer) as there:
            for each in (peer, there, peer, there):
                assert (await each.post(LIST)).status_code == 200


class NoStore:
    """A vault that takes and gives nothing."""

    async def get_setting(self, name: str) -> str | None:
        raise StoreUnavailable("busy")

    async def set_setting(self, name: str, value: str) -> None:
        raise StoreUnavailable("busy")


async def test_sessions_survive_though_nothing_can_be_written_down() -> None:
    runs = Runs()
    async with runs.next(memory=NoStore()) as site, a_peer(site) as peer:
        await begun(peer)
    async with runs.next(memory=NoStore()) as site, moved(site, peer) as again:
        assert (await again.post(LIST)).status_code == 200


async def test_a_client_that_says_very_much_of_itself_has_a_short_id_that_ends_with_us() -> None:
    runs = Runs()
    async with runs.next() as site, a_peer(site) as peer:
        await begun(peer, experimental={"x": "y" * 5000})
        assert len(peer.headers["Mcp-Session-Id"]) < 100
        assert (await peer.post(LIST)).status_code == 200
    async with runs.next() as site, moved(site, peer) as again:
        assert (await again.post(LIST)).status_code == 404


# --- the parts ----------------------------------------------------------------------------------


def test_an_id_that_was_touched_is_nobodys() -> None:
    tickets = Tickets(KEY)
    issued = tickets.issue(Ticket("owner", "/s/up", "2025-11-25", 1))
    assert tickets.issue(Ticket("owner", "/s/up", "2025-11-25", 1)) != issued
    read = tickets.read(issued)
    assert read is not None
    assert (read.caller, read.place, read.version, read.issued_at) == (
        "owner",
        "/s/up",
        "2025-11-25",
        1,
    )
    for at in range(len(issued)):
        for other in ("A", "é", "="):
            touched = issued[:at] + other + issued[at + 1 :]
            assert touched == issued or tickets.read(touched) is None
    for odd in ("", "s1.", "s1..", issued[:-1], issued + "A", "s1." + "A" * 5000, "s1.\udcff.x"):
        assert tickets.read(odd) is None


async def test_the_book_is_bounded_and_forgets_what_the_idle_limit_makes_dead_anyway() -> None:
    memory, clock = Forgetful(), Later()
    book = SessionBook(memory, clock, timedelta(hours=24))
    await book.ready()
    for number in range(6000):
        book.ended(f"{number:06}")
    await book.write({"used": Used(book.now(), "info")})
    written = json.loads(await memory.get_setting("client_sessions") or "")
    assert len(written["ended"]) == 5000
    clock.by = timedelta(hours=25)
    await book.write({})
    assert json.loads(await memory.get_setting("client_sessions") or "") == {
        "used": {},
        "ended": {},
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '{"used": {"a": 1}}', '{"ended": []}'])
async def test_a_book_that_cannot_be_read_is_an_empty_one(text: str) -> None:
    memory = Forgetful()
    await memory.set_setting("client_sessions", text)
    book = SessionBook(memory, RealClock(), timedelta(hours=1))
    await book.ready()
    assert book.used("a") is None


async def test_what_two_runs_write_stands_side_by_side_and_an_end_wins() -> None:
    memory, clock = Forgetful(), RealClock()
    one, two = (SessionBook(memory, clock, timedelta(hours=24)) for _ in range(2))
    await one.ready()
    await two.ready()
    now = one.now()
    await one.write({"a": Used(now - 5), "b": Used(now - 5)})
    await two.write({"a": Used(now - 9), "c": Used(now)})
    two.ended("b")
    await two.write({})
    last = SessionBook(memory, clock, timedelta(hours=24))
    await last.ready()
    assert last.used("a") == Used(now - 5)
    assert last.used("c") == Used(now)
    assert last.used("b") is None
    assert last.has_ended("b")
