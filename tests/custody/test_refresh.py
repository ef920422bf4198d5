"""One refresh: nothing is sent without lease and intent, nothing is used before it is stored."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.lifecycle import Plan, plan
from mcpproxy.core.model import FailureKind, Grant, Phase, Secret, Variant
from mcpproxy.core.notices import RefreshAttempted, RefreshFailedNotice, RefreshSucceeded
from mcpproxy.custody.refresh import SETTLE_PAUSE, Busy, Refresh, Refreshed
from mcpproxy.oauth.answer import pack
from tests.builders import a_token_set, an_attempt
from tests.custody.bench import (
    HOUR,
    NAME,
    NO_ANSWER,
    SECOND,
    Bench,
    error_reply,
    tokens_reply,
    virtually,
)


def a_refresh(bench: Bench, name: str = "p1") -> Refresh:
    def decide(grant: Grant) -> Plan:
        return plan(grant, bench.clock.now())

    return Refresh(bench.tools(name), NAME, decide)


async def refreshed(bench: Bench, name: str = "p1") -> Grant:
    result = await a_refresh(bench, name).run()
    assert isinstance(result, Refreshed)
    assert result.grant is not None
    return result.grant


@virtually
async def test_every_step_is_in_the_store_before_the_next_is_taken() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        seen: list[object] = []

        def note(grant: Grant) -> None:
            attempt = grant.attempt
            seen.append((attempt.phase, attempt.answer is not None) if attempt else "done")

        bench.disk.before_save = note
        bench.endpoint.on_send = lambda: seen.append("sent")
        grant = await refreshed(bench)
        assert seen == [
            (Phase.CONNECTING, False),
            (Phase.SENDING, False),
            "sent",
            (Phase.SENDING, True),
            "done",
        ]
        assert grant == bench.stored
        assert grant.tokens.access_token == Secret("access-2")


@virtually
async def test_a_lease_in_other_hands_is_left_alone() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        await bench.tools("p2").lease.acquire(f"grant:{NAME}", timedelta(seconds=40))
        assert await a_refresh(bench).run() == Busy()
        assert bench.endpoint.presented == []


@virtually
async def test_what_a_sibling_did_meanwhile_is_adopted_and_nothing_is_sent() -> None:
    async with Bench() as bench:
        grant = bench.store(age=2 * HOUR)
        tokens = a_token_set(number=5, issued_at=bench.clock.now())
        newer = bench.put(replace(grant, tokens=tokens, generation=2, revision=4))
        assert await refreshed(bench) == newer
        assert bench.endpoint.presented == []
        assert bench.notices == []


@virtually
async def test_a_login_that_is_gone_is_not_refreshed() -> None:
    async with Bench() as bench:
        assert await a_refresh(bench).run() == Refreshed(None)


@virtually
async def test_the_lease_is_given_back_whatever_happens() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.disk.is_full = True
        with pytest.raises(StoreUnavailable):
            await a_refresh(bench).run()
        bench.disk.is_full = False
        assert (await refreshed(bench, "p2")).generation == 2


@virtually
async def test_an_answer_that_a_dead_holder_stored_is_read_and_nothing_is_sent() -> None:
    async with Bench() as bench:
        answer = pack(tokens_reply(2), bench.clock.now())
        attempt = replace(an_attempt(1), phase=Phase.SENDING, answer=answer)
        bench.store(age=2 * HOUR, attempt=attempt)
        grant = await refreshed(bench)
        assert grant.tokens.refresh_token == Secret("refresh-2")
        assert bench.endpoint.presented == []
        (succeeded,) = bench.notices.of(RefreshSucceeded)
        assert succeeded.attempt_id == "attempt-1"


@virtually
@pytest.mark.parametrize(
    ("phase", "kind", "unanswered"),
    [(Phase.CONNECTING, FailureKind.NOT_SENT, 0), (Phase.SENDING, FailureKind.UNKNOWN, 1)],
)
async def test_an_attempt_without_answer_is_settled_by_how_far_it_got(
    phase: Phase, kind: FailureKind, unanswered: int
) -> None:
    async with Bench() as bench:
        begun_at = bench.clock.now()
        attempt = replace(an_attempt(1, begun_at=begun_at), phase=phase)
        bench.store(age=2 * HOUR, attempt=attempt, last_begun_at=begun_at)
        grant = await refreshed(bench)
        assert grant.failures is not None
        assert (grant.failures.failure.kind, grant.unanswered) == (kind, unanswered)
        assert bench.endpoint.presented == [], "not within ten seconds of the attempt before"
        (told,) = bench.notices.of(RefreshFailedNotice)
        assert told.attempt_id == "attempt-1"


@virtually
async def test_a_holder_that_lives_and_writes_late_is_given_a_moment() -> None:
    async with Bench() as bench:
        attempt = replace(an_attempt(1), phase=Phase.SENDING)
        grant = bench.store(age=2 * HOUR, attempt=attempt)
        settling = asyncio.create_task(refreshed(bench))
        await asyncio.sleep(SETTLE_PAUSE.total_seconds() / 2)
        tokens = a_token_set(number=2, issued_at=bench.clock.now())
        late = replace(grant, tokens=tokens, attempt=None, generation=2, revision=1)
        bench.put(late)
        assert await settling == late
        assert bench.endpoint.presented == []


@virtually
async def test_nothing_is_sent_when_the_process_stood_still_while_its_intent_was_written() -> None:
    """The lease ran out meanwhile; a sibling may have presented this very token."""
    async with Bench() as bench:
        bench.store(age=2 * HOUR)

        def stand_still(grant: Grant) -> None:
            if grant.attempt is not None and grant.attempt.phase is Phase.SENDING:
                bench.clock.sleep(timedelta(seconds=60))

        bench.disk.before_save = stand_still
        grant = await refreshed(bench)
        assert bench.endpoint.presented == []
        assert grant.failures is not None
        assert grant.failures.failure.kind is FailureKind.NOT_SENT


@virtually
async def test_a_late_answer_to_a_token_that_was_replaced_is_kept_as_a_spare() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        newer = a_token_set(number=9, issued_at=bench.clock.now())

        def overtake() -> None:
            stored = bench.stored
            bench.put(
                replace(
                    stored,
                    tokens=newer,
                    generation=2,
                    attempt=None,
                    revision=stored.revision + 1,
                )
            )

        bench.endpoint.on_send = overtake
        grant = await refreshed(bench)
        assert grant.tokens == newer
        assert [spare.refresh_token for spare in grant.spares] == [Secret("refresh-2")]


@virtually
async def test_a_login_made_while_a_refresh_is_under_way_is_not_touched_by_its_answer() -> None:
    async with Bench() as bench:
        grant = bench.store(age=2 * HOUR)
        new = replace(grant, login_id="login-2", tokens=a_token_set(number=9))
        bench.endpoint.on_send = lambda: bench.world.grants.update({NAME: new})
        assert await refreshed(bench) == new
        assert bench.notices.of(RefreshSucceeded) == []


@virtually
async def test_a_provider_that_wants_no_resource_is_asked_without_it_from_then_on() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR, resource="https://mcp.example.com/mcp")
        bench.endpoint.replies = [error_reply("invalid_target"), tokens_reply(2)]
        grant = await refreshed(bench)
        assert grant.variant is Variant.NO_RESOURCE
        await asyncio.sleep(10)
        assert (await refreshed(bench)).generation == 2


@virtually
async def test_a_lost_answer_counts_as_unanswered_and_its_attempt_is_told() -> None:
    async with Bench() as bench:
        bench.store(age=2 * HOUR)
        bench.endpoint.replies = [NO_ANSWER]
        grant = await refreshed(bench)
        assert grant.unanswered == 1
        (attempted,) = bench.notices.of(RefreshAttempted)
        (failed,) = bench.notices.of(RefreshFailedNotice)
        assert failed.attempt_id == attempted.attempt_id
        assert failed.failure.kind is FailureKind.UNKNOWN
        assert timedelta(0) < failed.duration < SECOND
