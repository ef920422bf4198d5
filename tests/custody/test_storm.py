"""Ten thousand expired logins at one provider that takes ten refreshes a second (virtual time)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Final

from mcpproxy.core.model import Grant, Secret
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from tests.builders import SERVER_URL, a_grant, a_token_set
from tests.custody.bench import Bench
from tests.custody.limited import LIMIT, LimitedProvider, busiest_second
from tests.proof import record
from tests.simulation.loop import run_virtually

LOGINS: Final = 10_000
UNDER_WAY: Final = 0.1
"""How long after a first 429 the requests of before may still arrive, in seconds."""

HOUR: Final = timedelta(hours=1)
CALLERS: Final = 200


def expired(bench: Bench, name: str) -> Grant:
    issued_at = bench.clock.now() - 2 * HOUR
    tokens = a_token_set(issued_at=issued_at, life=HOUR, refresh_token=f"{name}#1")
    return bench.put(a_grant(name, tokens=tokens, logged_in_at=issued_at, login_id=name))


async def storm(logins: int) -> tuple[LimitedProvider, list[float], Bench]:
    """All refreshed; how long each caller in between waited."""
    async with Bench() as bench:
        provider = LimitedProvider()
        endpoint = TokenEndpoint(provider, bench.clock)
        manager = RefreshManager(replace(bench.tools(), provider=endpoint))
        for n in range(logins):
            expired(bench, f"server-{n}")
        await manager.start()
        waited = await _call_now_and_then(manager, logins)
        async with asyncio.timeout(3 * 3600):
            while len(provider.generations) < logins:  # noqa: ASYNC110 - the provider's own record
                await asyncio.sleep(1)
        await manager.stop()
        return provider, waited, bench


async def _call_now_and_then(manager: RefreshManager, logins: int) -> list[float]:
    """Callers of random logins, one a second; seconds until each had its token."""
    random, loop = Random(7), asyncio.get_running_loop()
    waited: list[float] = []

    async def call(name: str) -> None:
        began = loop.time()
        token = await manager.token(name, SERVER_URL)
        assert token is not None
        waited.append(loop.time() - began)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            await asyncio.sleep(1)
            callers.create_task(call(f"server-{random.randrange(logins)}"))
    return sorted(waited)


def judge(provider: LimitedProvider, waited: list[float], bench: Bench) -> None:
    """Nothing lost, and who waits did not wait for the others."""
    assert provider.reused == []
    assert set(provider.generations.values()) == {2}
    for name, generation in provider.generations.items():
        assert bench.world.grants[name].tokens.refresh_token == Secret(f"{name}#{generation}")
    assert waited[int(len(waited) * 0.95)] <= 2.0


def test_a_storm_respects_the_providers_limit_from_its_first_complaint_on() -> None:
    provider, waited, bench = run_virtually(storm(LOGINS))
    judge(provider, waited, bench)
    assert busiest_second(provider.asked) > LIMIT, "only then there is something to respect"
    known_by_then = provider.complained[0] + UNDER_WAY
    after = busiest_second([at for at in provider.asked if at > known_by_then])
    assert after <= LIMIT
    record(
        "storm",
        goal="10,000 expired logins at start, a provider that takes 10 a second: no loss, its "
        "limit kept after its first 429, who is waited for goes first (p95 at most 2 s)",
        held="held",
        figures={
            "logins": LOGINS,
            "complaints (429)": len(provider.complained),
            "refreshes in the busiest second after the first 429": after,
            "lost": len(provider.reused),
            "callers": len(waited),
            "callers waited, p95 (s)": round(waited[int(len(waited) * 0.95)], 2),
            "all refreshed after (s)": round(provider.asked[-1]),
        },
    )
