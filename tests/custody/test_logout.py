"""A logout beside a refresh: whatever the refresh brings is given back too."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.ledger import Outcome
from mcpproxy.core.model import Attempt, Grant, Phase, RefreshCause
from mcpproxy.core.notices import LedgerWritten
from mcpproxy.oauth.answer import pack
from tests.builders import SERVER_URL, a_token_set
from tests.custody.bench import HOUR, NAME, NO_ANSWER, tokens_reply, until, virtually
from tests.custody.desk import Desk, a_desk, redirect, with_revocation

OK = HttpReply(200, {}, b"")
SECOND = timedelta(seconds=1)


def due(desk: Desk) -> Grant:
    """A grant whose refresh is due at once."""
    return desk.bench.put(with_revocation(desk.bench.store(age=HOUR)))


async def in_flight(desk: Desk) -> asyncio.Event:
    """A refresh of it that has sent its token and waits for the answer."""
    gate = desk.bench.endpoint.gate = asyncio.Event()
    desk.bench.endpoint.replies = [tokens_reply(2), OK]
    desk.manager.adopt(due(desk))
    await until(lambda: desk.bench.endpoint.presented)
    return gate


@virtually
async def test_a_logout_waits_for_the_refresh_in_flight_and_gives_back_what_it_brings() -> None:
    async with a_desk() as desk:
        gate = await in_flight(desk)
        leaving = asyncio.create_task(desk.logins.logout(NAME))
        await asyncio.sleep(5)
        assert not leaving.done()
        gate.set()
        assert await leaving is None
        assert desk.bench.endpoint.revoked == ["refresh-2", "access-2"]
        assert NAME not in desk.bench.world.grants
        await asyncio.sleep(60)
        assert NAME not in desk.bench.world.grants
        assert len(desk.bench.endpoint.presented) == 1


@virtually
async def test_a_login_that_comes_back_while_a_logout_is_under_way_follows_it() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [OK]
        desk.manager.adopt(desk.bench.put(with_revocation(desk.bench.store())))
        await desk.logins.begin(NAME)
        revoking = desk.bench.endpoint.revoking = asyncio.Event()
        leaving = asyncio.create_task(desk.logins.logout(NAME))
        await until(lambda: desk.bench.endpoint.revoked)
        coming = asyncio.create_task(desk.logins.finish(redirect(1)))
        await until(lambda: desk.pages.presented)
        await asyncio.sleep(1)
        revoking.set()
        assert await leaving is None
        assert (await coming).outcome == "succeeded"
        assert desk.bench.stored.login_id == "flow-1"
        assert await desk.manager.token(NAME, SERVER_URL) is not None
        assert desk.bench.endpoint.revoked == ["refresh-1", "access-1"]


@virtually
async def test_a_login_that_is_made_while_the_store_is_read_is_not_taken_for_vanished() -> None:
    async with a_desk() as desk:
        await desk.logins.begin(NAME)
        reading, before = asyncio.Event(), desk.bench.disk.read
        desk.bench.disk.reading = reading
        await until(lambda: desk.bench.disk.read > before, within=60)
        await desk.logins.finish(redirect(1))
        reading.set()
        desk.bench.disk.reading = None
        await asyncio.sleep(5)
        assert await desk.manager.token(NAME, SERVER_URL) is not None


@virtually
async def test_no_refresh_begins_while_a_logout_is_under_way() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [OK]
        grant = desk.bench.put(with_revocation(desk.bench.store()))
        desk.manager.adopt(grant)
        held = await desk.bench.tools("p9").lease.acquire(f"grant:{NAME}", 40 * SECOND)
        leaving = asyncio.create_task(desk.logins.logout(NAME))
        await asyncio.sleep(2)
        assert not leaving.done(), "another process refreshes it"
        assert held is not None
        await desk.bench.tools("p9").lease.release(held)
        assert await leaving is None
        lines = desk.bench.world.ledger[NAME]
        assert lines[-1].outcome is Outcome.LOGGED_OUT
        assert desk.bench.notices.of(LedgerWritten) == [LedgerWritten(NAME, lines[-1])]


@virtually
async def test_a_holder_that_never_gives_back_does_not_keep_anybody_logged_in() -> None:
    async with a_desk() as desk:
        desk.bench.endpoint.replies = [OK]
        desk.manager.adopt(desk.bench.put(with_revocation(desk.bench.store())))
        await desk.bench.tools("p9").lease.acquire(f"grant:{NAME}", timedelta(days=1))
        async with asyncio.timeout(30):
            assert await desk.logins.logout(NAME) is None
        assert NAME not in desk.bench.world.grants


@virtually
async def test_an_answer_that_nobody_read_yet_and_spares_are_given_back_too() -> None:
    async with a_desk() as desk:
        now = desk.bench.clock.now()
        attempt = Attempt(
            attempt_id="attempt-9",
            begun_at=now,
            generation=1,
            fingerprint="",
            holder="gone",
            cause=RefreshCause.SCHEDULED,
            phase=Phase.SENDING,
            answer=pack(tokens_reply(2), now),
        )
        grant = with_revocation(desk.bench.store())
        grant = replace(grant, attempt=attempt, spares=(a_token_set(number=3),))
        desk.bench.put(grant)
        desk.bench.endpoint.replies = [OK]
        assert await desk.logins.logout(NAME) is None
        revoked = desk.bench.endpoint.revoked
        assert [token for token in revoked if token.startswith("refresh")] == [
            "refresh-1",
            "refresh-2",
            "refresh-3",
        ]


@virtually
@pytest.mark.parametrize("reply", [NO_ANSWER, HttpReply(503, {}, b"")])
async def test_what_the_provider_says_against_it_is_told_and_logs_out_all_the_same(
    reply: HttpReply | NoReply,
) -> None:
    async with a_desk() as desk:
        desk.bench.put(with_revocation(desk.bench.store()))
        desk.bench.endpoint.replies = [reply]
        assert await desk.logins.logout(NAME) in ("timeout", "HTTP 503")
        assert NAME not in desk.bench.world.grants
