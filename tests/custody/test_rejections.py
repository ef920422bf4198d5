"""An upstream's 401 is an observation, not a verdict."""

import asyncio
from datetime import timedelta

import pytest

from mcpproxy.core.errors import LoginRequired, RefreshPending
from mcpproxy.core.model import Secret
from tests.builders import SERVER_URL, a_token_set
from tests.custody.bench import NAME, UNREACHABLE, Bench, virtually


@virtually
async def test_a_good_token_that_was_refused_once_is_offered_again_and_forgiven() -> None:
    async with Bench() as bench:
        tokens = a_token_set(issued_at=bench.clock.now(), refresh_token=None)
        bench.store(tokens=tokens)
        manager = await bench.start()
        again = asyncio.create_task(manager.challenged(NAME, SERVER_URL, tokens.access_token))
        began = bench.clock.elapsed()
        assert await again == tokens.access_token
        assert bench.clock.elapsed() - began >= timedelta(seconds=10)
        await manager.accepted(NAME, tokens.access_token)
        assert manager.peek(NAME, SERVER_URL) == tokens.access_token
        assert bench.stored.rejections == 0


@virtually
async def test_a_token_that_is_refused_for_good_and_cannot_be_refreshed_asks_for_a_login() -> None:
    async with Bench() as bench:
        tokens = a_token_set(issued_at=bench.clock.now(), refresh_token=None)
        bench.store(tokens=tokens)
        manager = await bench.start()
        await manager.challenged(NAME, SERVER_URL, tokens.access_token)
        with pytest.raises(RefreshPending) as told:
            await manager.challenged(NAME, SERVER_URL, tokens.access_token)
        assert told.value.retry_at is not None
        await asyncio.sleep(20)
        assert await manager.token(NAME, SERVER_URL) == tokens.access_token
        with pytest.raises(LoginRequired):
            await manager.challenged(NAME, SERVER_URL, tokens.access_token)


@virtually
async def test_a_refused_token_goes_on_being_offered_while_the_provider_is_down() -> None:
    async with Bench() as bench:
        grant = bench.store()
        bench.endpoint.replies = [UNREACHABLE]
        manager = await bench.start()
        token = await manager.challenged(NAME, SERVER_URL, grant.tokens.access_token)
        assert token == Secret("access-1")
        assert bench.stored.failures is not None
