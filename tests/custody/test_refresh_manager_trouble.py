"""What the loop does when the store is in trouble, when it stops, and what it tells of it all."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.errors import RefreshPending, StoreTrouble
from mcpproxy.core.health import Snapshot, assess
from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import Phase, Secret
from mcpproxy.core.notices import (
    RefreshAttempted,
    RefreshFailedNotice,
    RefreshScheduled,
    RefreshSucceeded,
    RetryScheduled,
)
from tests.builders import SERVER_URL, a_token_set
from tests.custody.bench import (
    HOUR,
    NAME,
    NO_ANSWER,
    SECOND,
    Bench,
    error_reply,
    one_refresh,
    tokens_reply,
    until,
    virtually,
)

ELSEWHERE = "https://elsewhere.example.com/mcp"


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
        assert manager.store_trouble() is StoreTrouble.FULL
        bench.disk.is_full = False
        await until(lambda: bench.stored.generation == 2, within=1.0)
        await until(lambda: manager.store_trouble() is None, within=1.0)
        assert bench.endpoint.presented == ["refresh-1"]


@virtually
async def test_a_401_on_a_full_disk_is_told_as_pending() -> None:
    async with Bench() as bench:
        grant = bench.store()
        manager = await bench.start()
        bench.disk.is_full = True
        with pytest.raises(RefreshPending, match="disk is full"):
            await manager.challenged(NAME, SERVER_URL, grant.tokens.access_token)


@virtually
async def test_a_disk_that_has_room_again_is_noticed_though_no_refresh_is_due() -> None:
    async with Bench() as bench:
        grant = bench.store()
        manager = await bench.start()
        bench.disk.is_full = True
        with pytest.raises(RefreshPending):
            await manager.challenged(NAME, SERVER_URL, grant.tokens.access_token)
        assert manager.store_trouble() is StoreTrouble.FULL
        bench.disk.is_full = False
        await until(lambda: manager.store_trouble() is None, within=31)
        assert bench.stored.generation == 1


@virtually
async def test_a_401_while_the_key_is_locked_is_told_as_pending() -> None:
    async with Bench() as bench:
        grant = bench.store()
        manager = await bench.start()
        bench.disk.is_locked = True
        with pytest.raises(RefreshPending, match="keyring is locked"):
            await manager.challenged(NAME, SERVER_URL, grant.tokens.access_token)
        assert manager.store_trouble() is StoreTrouble.KEY_LOCKED


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
        dead = asyncio.create_task(one_refresh(bench))
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


@virtually
async def test_a_new_process_keeps_the_least_interval_though_the_clock_was_set_back() -> None:
    async with Bench() as bench:
        bench.store(age=0.9 * HOUR)
        bench.endpoint.replies = [HttpReply(503, {}, b"")]
        moments: list[timedelta] = []
        bench.endpoint.on_send = lambda: moments.append(bench.clock.elapsed())
        first = await bench.start("p1")
        await until(lambda: moments and bench.stored.attempt is None)
        await first.stop()
        bench.clock.step(-HOUR)
        await asyncio.sleep(2)
        await bench.start("p2")
        await until(lambda: len(moments) == 2)
        assert moments[1] - moments[0] >= 10 * SECOND


@virtually
async def test_a_refresh_that_was_asked_for_is_not_repeated_when_the_clock_goes_back() -> None:
    async with Bench() as bench:
        bench.store()
        manager = await bench.start()
        await asyncio.sleep(20)
        await manager.refresh_now(NAME)
        bench.clock.step(-HOUR)
        await asyncio.sleep(1800)
        assert len(bench.endpoint.presented) <= 3


@virtually
async def test_who_waits_behind_another_logins_429_is_told_until_when() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        too_much = HttpReply(429, {"retry-after": "600"}, b"")
        bench.endpoint.replies = [too_much]
        manager = await bench.start()
        await until(lambda: bench.stored.failures is not None)
        other = replace(bench.stored, server="other", login_id="login-2", failures=None)
        bench.put(replace(other, last_begun_at=None))
        await until(lambda: manager.grant("other"))
        with pytest.raises(RefreshPending) as told:
            await manager.token("other", SERVER_URL)
        held_until = manager.held_until("other")
        assert held_until is not None
        assert told.value.retry_at == held_until
        assert held_until - bench.clock.now() > timedelta(minutes=8)
        health = assess(
            Snapshot(grant=manager.grant("other"), held_until=held_until), bench.clock.now()
        )
        assert (health.cause, health.action) == ("refresh_held", "view_logs")
