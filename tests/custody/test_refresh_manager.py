"""One loop keeps every grant alive, and callers get tokens that are stored."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.errors import LoginRequired, RefreshPending, StoreTrouble, UnknownServer
from mcpproxy.core.events import TokenRejected
from mcpproxy.core.evolution import evolve
from mcpproxy.core.model import Secret
from mcpproxy.core.notices import (
    LoginLost,
    StoreTroubled,
    Woke,
)
from mcpproxy.storage.memory import MemoryStore
from tests.builders import SERVER_URL, a_token_set
from tests.custody.bench import (
    HOUR,
    NAME,
    SECOND,
    UNREACHABLE,
    Bench,
    error_reply,
    until,
    virtually,
)

ELSEWHERE = "https://elsewhere.example.com/mcp"


# --- starting -----------------------------------------------------------------------------------


@virtually
async def test_startup_refresh() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        manager = await bench.start()
        await until(lambda: bench.endpoint.presented, within=1.0)
        assert bench.endpoint.presented == ["refresh-1"]
        assert await manager.token(NAME, SERVER_URL) == Secret("access-2")
        assert bench.stored.tokens.refresh_token == Secret("refresh-2")


@virtually
async def test_starting_waits_for_nobody() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.gate = asyncio.Event()
        before = bench.clock.elapsed()
        await bench.start()
        assert bench.clock.elapsed() == before


@virtually
async def test_a_store_that_cannot_be_read_at_the_start_is_asked_again() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.disk.is_unreadable = True
        manager = await bench.start()
        assert manager.store_trouble() is StoreTrouble.UNAVAILABLE
        assert manager.grant(NAME) is None
        bench.disk.is_unreadable = False
        await until(lambda: bench.stored.generation == 2)
        assert manager.store_trouble() is None
        assert [notice.trouble for notice in bench.notices.of(StoreTroubled)] == [
            "unavailable",
            None,
        ]


@virtually
async def test_a_live_token_is_refreshed_at_four_fifths_of_its_life_and_not_before() -> None:
    async with Bench() as bench:
        bench.store()
        await bench.start()
        await asyncio.sleep(47.9 * 60)
        assert bench.endpoint.presented == []
        await asyncio.sleep(0.2 * 60)
        assert bench.endpoint.presented == ["refresh-1"]
        await asyncio.sleep(47.5 * 60)
        assert bench.endpoint.presented == ["refresh-1"]


@virtually
async def test_a_night_of_sleep_costs_one_refresh_and_no_login() -> None:
    async with Bench() as bench:
        bench.store()
        manager = await bench.start()
        await asyncio.sleep(60)
        bench.clock.sleep(8 * HOUR)
        await until(lambda: bench.stored.generation == 2, within=3.0)
        assert bench.endpoint.presented == ["refresh-1"]
        assert bench.notices.of(Woke) == [Woke("suspend", 8 * HOUR)]
        assert manager.woken_at() is not None


# --- single flight ------------------------------------------------------------------------------


@virtually
async def test_callers_that_meet_a_refresh_wait_for_it_and_make_no_second_one() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        manager = await bench.start()
        tokens = await asyncio.gather(*[manager.token(NAME, SERVER_URL) for _ in range(50)])
        assert set(tokens) == {Secret("access-2")}
        assert bench.endpoint.presented == ["refresh-1"]


@virtually
async def test_a_caller_cancelled_mid_refresh_does_not_end_it() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.gate = asyncio.Event()
        manager = await bench.start()
        caller = asyncio.create_task(manager.token(NAME, SERVER_URL))
        await until(lambda: bench.endpoint.presented)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        bench.endpoint.gate.set()
        await until(lambda: bench.stored.generation == 2)
        assert bench.endpoint.presented == ["refresh-1"]


@virtually
async def test_two_managers_on_one_store_make_one_request() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        first, second = await bench.start("p1"), await bench.start("p2")
        tokens = await asyncio.gather(first.token(NAME, SERVER_URL), second.token(NAME, SERVER_URL))
        assert list(tokens) == [Secret("access-2"), Secret("access-2")]
        assert bench.endpoint.presented == ["refresh-1"]


# --- challenges ---------------------------------------------------------------------------------


@virtually
async def test_a_401_adopts_a_siblings_newer_token_without_a_request() -> None:
    async with Bench() as bench:
        grant = bench.store()
        manager = await bench.start()
        newer = a_token_set(number=7, issued_at=bench.clock.now())
        bench.put(replace(grant, tokens=newer, generation=2, revision=5))
        token = await manager.challenged(NAME, SERVER_URL, grant.tokens.access_token)
        assert token == Secret("access-7")
        assert bench.endpoint.presented == []


@virtually
async def test_a_401_on_the_newest_token_makes_one_refresh_for_all_who_meet_it() -> None:
    async with Bench() as bench:
        grant = bench.store()
        manager = await bench.start()
        rejected = grant.tokens.access_token
        tokens = await asyncio.gather(
            *[manager.challenged(NAME, SERVER_URL, rejected) for _ in range(20)]
        )
        assert set(tokens) == {Secret("access-2")}
        assert bench.endpoint.presented == ["refresh-1"]


@virtually
async def test_a_server_that_rejects_every_fresh_token_is_braked() -> None:
    async with Bench() as bench:
        token = bench.store().tokens.access_token
        manager = await bench.start()
        for _ in range(5):
            try:
                token = await manager.challenged(NAME, SERVER_URL, token)
            except RefreshPending:
                await asyncio.sleep(20)
        assert len(bench.endpoint.presented) <= 4
        assert bench.stored.rejections >= 2


@virtually
async def test_a_token_that_is_accepted_after_all_ends_the_brake() -> None:
    async with Bench() as bench:
        manager_grant = bench.store()
        manager = await bench.start()
        token = await manager.challenged(NAME, SERVER_URL, manager_grant.tokens.access_token)
        assert bench.stored.rejections == 1
        await manager.accepted(NAME, token)
        assert bench.stored.rejections == 0


# --- what callers are told ----------------------------------------------------------------------


@virtually
async def test_a_pending_refresh_says_when_it_is_retried_and_that_no_login_is_needed() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.replies = [UNREACHABLE]
        manager = await bench.start()
        await until(lambda: bench.stored.failures and bench.stored.failures.count == 3)
        with pytest.raises(RefreshPending) as told:
            await manager.token(NAME, SERVER_URL)
        begun_at = bench.stored.last_begun_at
        assert begun_at is not None
        assert told.value.retry_at == begun_at + timedelta(seconds=40)
        assert "no login is needed" in told.value.next_step
        assert "connection refused" in told.value.message


@virtually
async def test_a_login_is_asked_for_once_the_provider_has_confirmed_its_refusal() -> None:
    async with Bench() as bench:
        bench.store(age=0.85 * HOUR)
        bench.endpoint.replies = [error_reply()]
        manager = await bench.start()
        await until(lambda: bench.stored.refusals)
        assert await manager.token(NAME, SERVER_URL) == Secret("access-1"), "it still works"
        await until(lambda: bench.stored.refusals and bench.stored.refusals.count == 2)
        assert len(bench.endpoint.presented) == 2
        await asyncio.sleep(HOUR.total_seconds())
        with pytest.raises(LoginRequired, match="invalid_grant"):
            await manager.token(NAME, SERVER_URL)
        assert len(bench.endpoint.presented) == 3, "the quiet probe, and then peace"
        assert bench.stored.tokens.refresh_token == Secret("refresh-1"), "never deleted"
        assert len(bench.notices.of(LoginLost)) == 1


@virtually
async def test_an_outage_of_a_week_asks_for_no_login() -> None:
    async with Bench() as bench:
        bench.store()
        bench.endpoint.replies = [UNREACHABLE]
        manager = await bench.start(tick=30 * SECOND)
        await asyncio.sleep(7 * 24 * 3600)
        with pytest.raises(RefreshPending):
            await manager.token(NAME, SERVER_URL)
        bench.endpoint.replies = []
        await until(lambda: bench.stored.generation == 2, within=305)
        assert await manager.token(NAME, SERVER_URL) == Secret("access-2")
        assert bench.notices.of(LoginLost) == []


@virtually
async def test_a_token_is_given_only_for_the_url_its_login_was_made_for() -> None:
    async with Bench() as bench:
        grant = bench.store()
        manager = await bench.start()
        assert manager.peek(NAME, SERVER_URL) == Secret("access-1")
        assert manager.peek(NAME, ELSEWHERE) is None
        assert await manager.token(NAME, ELSEWHERE) is None
        assert await manager.token("another", SERVER_URL) is None
        with pytest.raises(LoginRequired):
            await manager.challenged(NAME, ELSEWHERE, grant.tokens.access_token)
        assert bench.endpoint.presented == []


@virtually
async def test_a_dead_or_rejected_token_is_not_peeked_at() -> None:
    async with Bench() as bench:
        grant = bench.store()
        bench.put(
            evolve(grant, TokenRejected(grant.tokens.access_token.fingerprint, bench.clock.now()))
        )
        bench.endpoint.replies = [UNREACHABLE]
        manager = await bench.start()
        assert manager.peek(NAME, SERVER_URL) is None


@virtually
async def test_a_waiting_caller_is_let_go_when_the_login_goes() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.gate = asyncio.Event()
        manager = await bench.start()
        caller = asyncio.create_task(manager.token(NAME, SERVER_URL))
        await until(lambda: bench.endpoint.presented)
        del bench.world.grants[NAME]
        manager.forget(NAME)
        with pytest.raises(LoginRequired):
            await caller


# --- asked for by hand --------------------------------------------------------------------------


@virtually
async def test_a_refresh_asked_for_by_hand_is_made_at_once_and_answers_with_the_new_grant() -> None:
    async with Bench() as bench:
        bench.store()
        manager = await bench.start()
        grant = await manager.refresh_now(NAME)
        assert grant.generation == 2
        assert bench.clock.elapsed() < 2 * SECOND


@virtually
async def test_asking_twice_keeps_the_minimum_interval() -> None:
    async with Bench() as bench:
        bench.store()
        manager = await bench.start()
        first = await manager.refresh_now(NAME)
        second = await manager.refresh_now(NAME)
        assert first.last_begun_at is not None
        assert second.last_begun_at is not None
        assert second.last_begun_at - first.last_begun_at >= 10 * SECOND


@virtually
async def test_asking_for_what_has_no_login_says_so() -> None:
    async with Bench() as bench:
        manager = await bench.start()
        with pytest.raises(UnknownServer, match="no login"):
            await manager.refresh_now("nobody")


@virtually
async def test_what_another_process_stored_is_known_here_within_seconds() -> None:
    async with Bench() as bench:
        bench.store()
        manager = await bench.start()
        await asyncio.sleep(7)
        other = MemoryStore(bench.world)
        changed = replace(bench.stored, revision=bench.stored.revision + 1, unanswered=1)
        assert await other.save_grant(changed, expected_revision=bench.stored.revision)
        await until(lambda: manager.grant(NAME) == changed, within=5)
