"""Every event is stored on the newest facts, or its writer knows that it is not."""

import asyncio
from dataclasses import replace

import pytest

from mcpproxy.core.errors import (
    McpproxyError,
    NotPermitted,
    StoreCorrupt,
    StoreUnavailable,
    WrongKey,
)
from mcpproxy.core.events import AttemptBegan, RefreshFailed, TokensIssued
from mcpproxy.core.model import Secret
from mcpproxy.custody.journal import MAX_READ_LAG, Superseded
from tests.builders import a_failure, a_token_set, an_attempt
from tests.custody.bench import Bench, virtually


@virtually
async def test_an_intent_is_written_once_or_not_at_all() -> None:
    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        first = await journal.try_append(grant, AttemptBegan(an_attempt(1)))
        second = await journal.try_append(grant, AttemptBegan(an_attempt(2)))
        assert first is not None
        assert first.revision == grant.revision + 1
        assert second is None
        assert bench.stored == first


@virtually
async def test_an_outcome_is_stored_on_whatever_the_facts_are_by_now() -> None:
    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        begun = await journal.append(grant, AttemptBegan(an_attempt(1)))
        bench.put(replace(begun, rejections=1, revision=begun.revision + 1))
        stored = await journal.append(
            begun, RefreshFailed("attempt-1", a_failure(), bench.clock.now())
        )
        assert stored.rejections == 1, "what a sibling wrote is kept"
        assert stored.failures is not None
        assert bench.stored == stored


@virtually
async def test_nothing_is_written_onto_another_login() -> None:
    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        another = bench.put(replace(grant, login_id="login-2"))
        late = TokensIssued("attempt-1", 1, a_token_set(number=2), bench.clock.now())
        with pytest.raises(Superseded):
            await journal.append(replace(grant, revision=7), late)
        assert bench.stored == another


@virtually
async def test_nothing_comes_back_after_a_logout() -> None:
    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        bench.world.grants.clear()
        late = TokensIssued("attempt-1", 1, a_token_set(number=2), bench.clock.now())
        with pytest.raises(Superseded):
            await journal.append_at_any_cost(grant, late)
        assert bench.world.grants == {}


@virtually
async def test_a_full_disk_is_told_of_an_intent_but_outlasted_with_tokens_in_the_hand() -> None:
    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        bench.disk.is_full = True
        with pytest.raises(StoreUnavailable):
            await journal.try_append(grant, AttemptBegan(an_attempt(1)))
        issued = TokensIssued("attempt-1", 1, a_token_set(number=2), bench.clock.now())
        writing = asyncio.create_task(journal.append_at_any_cost(grant, issued))
        await asyncio.sleep(3600)
        assert not writing.done()
        bench.disk.is_full = False
        stored = await asyncio.wait_for(writing, timeout=1)
        assert stored.tokens.access_token == Secret("access-2")


@virtually
async def test_a_lagging_read_is_waited_out() -> None:
    """The store takes only what was made of its newest facts; a replica may not show them yet."""
    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        newest = bench.put(replace(grant, revision=3))
        lagging = replace(grant, revision=2)
        bench.disk.load_grant = _once(lagging, bench.disk.load_grant)  # type: ignore[method-assign]
        stored = await journal.append(lagging, AttemptBegan(an_attempt(1)))
        assert stored.revision == newest.revision + 1


def _once(first: object, then: object):  # type: ignore[no-untyped-def]
    answers = [first]

    async def load(server: str) -> object:
        return answers.pop() if answers else await then(server)  # type: ignore[operator]

    return load


@virtually
@pytest.mark.parametrize(
    "error", [NotPermitted("the ticket expired"), StoreCorrupt("not a database"), WrongKey("gone")]
)
async def test_whatever_ails_the_store_an_outcome_is_offered_until_it_is_taken(
    error: McpproxyError, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> bool:
        raise error

    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        tokens = TokensIssued("a", grant.generation, a_token_set(number=2), bench.clock.now())
        with monkeypatch.context() as patch:
            patch.setattr(bench.disk, "save_grant", refuse)
            writing = asyncio.create_task(journal.append_at_any_cost(grant, tokens))
            await asyncio.sleep(60)
            assert not writing.done()
        stored = await writing
        assert stored.tokens.access_token == Secret("access-2")
        assert bench.stored == stored


@virtually
async def test_a_vault_that_was_put_back_is_believed_after_a_minute() -> None:
    async with Bench() as bench:
        grant, journal = bench.store(), bench.journal()
        ahead = replace(grant, revision=grant.revision + 5)
        began = bench.clock.elapsed()
        stored = await journal.append(ahead, AttemptBegan(an_attempt(1)))
        assert stored.revision == grant.revision + 1
        assert bench.clock.elapsed() - began >= MAX_READ_LAG
