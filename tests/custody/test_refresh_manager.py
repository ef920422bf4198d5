"""One loop keeps every grant alive, and callers get tokens that are stored."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.errors import LoginRequired, RefreshPending, StoreTrouble, UnknownServer
from mcpproxy.core.events import TokenRejected
from mcpproxy.core.lifecycle import evolve, plan
from mcpproxy.core.model import Phase, Secret
from mcpproxy.core.notices import (
    LoginLost,
    RefreshAttempted,
    RefreshFailedNotice,
    RefreshScheduled,
    RefreshSucceeded,
    RetryScheduled,
    StoreTroubled,
    Woke,
)
from mcpproxy.custody.refresh import Refresh
from tests.builders import SERVER_URL, a_token_set
from tests.custody.bench import (
    HOUR,
    NAME,
    NO_ANSWER,
    SECOND,
    UNREACHABLE,
    Bench,
    error_reply,
    tokens_reply,
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


# --- a store in trouble -------------------------------------------------------------------------


@virtually
async def test_nothing_is_sent_while_its_intent_cannot_be_written() -> None:
    async with Bench() as bench:
        bench.store(age=0.9 * HOUR)
        bench.disk.is_full = True
        manager = await bench.start()
        await asyncio.sleep(120)
        assert bench.endpoint.presented == []
        assert manager.store_trouble() is StoreTrouble.FULL
        assert await manager.token(NAME, SERVER_URL) == Secret("access-1"), "served from memory"
        bench.disk.is_full = False
        await until(lambda: bench.stored.generation == 2, within=11)
        assert manager.store_trouble() is None


@virtually
async def test_an_answer_in_the_hand_is_stored_as_soon_as_the_disk_takes_it() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)

        def fill() -> None:
            bench.disk.is_full = True

        bench.endpoint.on_send = fill
        manager = await bench.start()
        await until(lambda: bench.endpoint.presented)
        await asyncio.sleep(30)
        assert manager.peek(NAME, SERVER_URL) is None, "what is not stored is not used"
        bench.disk.is_full = False
        await until(lambda: bench.stored.generation == 2, within=1.0)
        assert bench.endpoint.presented == ["refresh-1"]


@virtually
async def test_a_401_on_a_full_disk_is_told_as_pending() -> None:
    async with Bench() as bench:
        grant = bench.store()
        manager = await bench.start()
        bench.disk.is_full = True
        with pytest.raises(RefreshPending, match="disk is full"):
            await manager.challenged(NAME, SERVER_URL, grant.tokens.access_token)


# --- stopping -----------------------------------------------------------------------------------


@virtually
async def test_stopping_waits_for_what_was_sent() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.gate = asyncio.Event()
        manager = await bench.start()
        await until(lambda: bench.endpoint.presented)
        stopping = asyncio.create_task(manager.stop())
        await asyncio.sleep(5)
        assert not stopping.done()
        bench.endpoint.gate.set()
        await stopping
        assert bench.stored.tokens.refresh_token == Secret("refresh-2")


@virtually
async def test_stopping_waits_no_longer_than_an_attempt_may_take() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.gate = asyncio.Event()
        manager = await bench.start()
        await until(lambda: bench.endpoint.presented)
        before = bench.clock.elapsed()
        await manager.stop()
        assert bench.clock.elapsed() - before <= 25 * SECOND


@virtually
async def test_what_was_not_sent_yet_is_called_off_when_stopping() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.sending_allowed = False
        manager = await bench.start()
        await until(lambda: bench.stored.failures)
        await manager.stop()
        assert bench.endpoint.presented == []
        failures = bench.stored.failures
        assert failures is not None
        assert "stopping" in failures.failure.detail


# --- what is told -------------------------------------------------------------------------------


@virtually
async def test_success_is_told_once_and_only_when_it_is_stored() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)

        def not_before(grant: object) -> None:
            if bench.stored.generation == 1:
                assert bench.notices.of(RefreshSucceeded) == []

        bench.disk.before_save = not_before
        await bench.start()
        await until(lambda: bench.stored.generation == 2)
        await asyncio.sleep(5)
        (attempted,) = bench.notices.of(RefreshAttempted)
        (succeeded,) = bench.notices.of(RefreshSucceeded)
        (scheduled,) = bench.notices.of(RefreshScheduled)
        assert (attempted.generation, attempted.retry) == (1, 0)
        assert (succeeded.attempt_id, succeeded.generation) == (attempted.attempt_id, 2)
        assert succeeded.expires_at == bench.stored.tokens.expires_at
        assert scheduled.at == bench.stored.tokens.issued_at + timedelta(minutes=48)
        assert bench.notices.of(RefreshFailedNotice) == []


@virtually
async def test_a_failure_is_told_with_its_retry() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.replies = [error_reply("temporarily_unavailable", 503), tokens_reply(2)]
        await bench.start()
        await until(lambda: bench.stored.generation == 2)
        (failed,) = bench.notices.of(RefreshFailedNotice)
        (retry,) = bench.notices.of(RetryScheduled)
        assert failed.failure.status == 503
        assert (retry.retry, retry.failure) == (1, failed.failure)
        first, second = bench.notices.of(RefreshAttempted)
        assert (first.retry, second.retry) == (0, 1)


@virtually
async def test_a_lost_answer_is_asked_for_again_within_the_replay_window() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.replies = [NO_ANSWER, tokens_reply(2)]
        await bench.start()
        before = bench.clock.elapsed()
        await until(lambda: bench.stored.generation == 2)
        assert 10 * SECOND <= bench.clock.elapsed() - before <= 12 * SECOND
        assert bench.endpoint.presented == ["refresh-1", "refresh-1"]


# --- what others wrote --------------------------------------------------------------------------


@virtually
async def test_a_logout_elsewhere_is_noticed_within_half_a_minute() -> None:
    async with Bench() as bench:
        bench.store()
        manager = await bench.start()
        del bench.world.grants[NAME]
        await until(lambda: manager.grant(NAME) is None, within=31)


@virtually
async def test_a_login_made_here_counts_even_after_the_clock_was_set_back() -> None:
    async with Bench() as bench:
        old = bench.store()
        manager = await bench.start()
        bench.clock.step(-5 * HOUR)
        new = replace(old, login_id="login-2", logged_in_at=bench.clock.now())
        manager.adopt(bench.put(new))
        assert manager.grant(NAME) == new


@virtually
async def test_a_login_made_elsewhere_counts_soon_even_after_the_clock_was_set_back() -> None:
    async with Bench() as bench:
        old = bench.store()
        manager = await bench.start()
        bench.clock.step(-5 * HOUR)
        tokens = a_token_set(number=9, issued_at=bench.clock.now())
        new = replace(old, login_id="login-2", logged_in_at=bench.clock.now(), tokens=tokens)
        bench.put(new)
        await until(lambda: manager.peek(NAME, SERVER_URL) == Secret("access-9"), within=95)


@virtually
async def test_a_vault_that_was_put_back_from_a_backup_is_believed_soon() -> None:
    async with Bench() as bench:
        backup = bench.store()
        bench.put(replace(backup, revision=40, tokens=a_token_set(number=8)))
        manager = await bench.start()
        bench.put(backup)
        await until(lambda: manager.grant(NAME) == backup, within=95)


@virtually
async def test_an_attempt_that_a_dead_process_left_is_taken_over_at_the_start() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.gate = asyncio.Event()
        dead = asyncio.create_task(_one_refresh(bench))
        await until(lambda: bench.endpoint.presented)
        dead.cancel()
        bench.dead.add("p0")
        bench.endpoint.gate = None
        attempt = bench.stored.attempt
        assert attempt is not None
        assert attempt.phase is Phase.SENDING
        await bench.start()
        await until(lambda: bench.stored.generation == 2)
        assert bench.endpoint.presented == ["refresh-1", "refresh-1"]
        (failed,) = bench.notices.of(RefreshFailedNotice)
        assert failed.attempt_id == attempt.attempt_id


async def _one_refresh(bench: Bench) -> None:
    tools = bench.tools("p0")
    await Refresh(tools, NAME, lambda grant: plan(grant, bench.clock.now())).run()
