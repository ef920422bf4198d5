"""MCP servers that refuse good tokens, or never say that one has expired; and storms."""

import asyncio
from dataclasses import replace

import pytest

from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.model import FailureKind, FailureRun, RefreshFailure, Secret
from tests.custody.bench import HOUR, NAME, SECOND, virtually
from tests.field.parts import url_of
from tests.field.provider import JSON, Reply, Visit, honest, instead
from tests.field.scene import DAY, MINUTE, Scene
from tests.simulation.provider import Rotation


@virtually
async def test_a_token_revoked_before_its_time_costs_one_refresh_and_one_replay() -> None:
    async with Scene() as scene:
        scene.log_in()
        await scene.start()
        for _ in range(10):
            await scene.pass_time(10 * MINUTE)
            before = scene.presented()
            for token in scene.truth().access:
                scene.truth().access[token] = scene.provider.now()
            assert await scene.call()
            assert scene.presented() == before + 1
        assert scene.calls.replayed == 10
        scene.require_good()


class Picky(Scene):
    """An MCP server that takes no token, however fresh, while it is `out_of_order`."""

    out_of_order = True

    def takes(self, server: str, token: Secret) -> bool:
        return not self.out_of_order and super().takes(server, token)


@virtually
async def test_a_server_that_refuses_every_fresh_token_makes_no_storm() -> None:
    """ClickHouse, obot: several hundred refreshes a second is what this cost elsewhere."""
    async with Picky(looked_every=10 * SECOND) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.start()
        scene.call_every(5 * SECOND)
        await scene.pass_time(3 * HOUR)
        assert scene.calls.served == 0
        assert scene.calls.refused == []
        assert scene.presented() <= 3 * 12 + 10
        assert "rejected_though_fresh" in scene.causes()
        assert scene.health().action != "login"
        scene.out_of_order = False
        await scene.pass_time(6 * MINUTE)
        assert await scene.call()
        scene.require_good()


@virtually
async def test_a_burst_of_401s_makes_one_refresh() -> None:
    """A hundred calls are under way when the token is revoked."""
    async with Picky() as scene:
        scene.log_in()
        manager = await scene.start()
        await scene.pass_time(20 * MINUTE)
        token = await manager.token(NAME, url_of(NAME))
        assert token is not None
        fresh = await asyncio.gather(
            *(manager.challenged(NAME, url_of(NAME), token) for _ in range(100))
        )
        assert len(set(fresh)) == 1
        assert scene.presented() == 1
        scene.out_of_order = False
        assert await scene.call()
        scene.require_good(presented=1)


@virtually
async def test_a_server_that_never_says_401_gets_no_expired_token() -> None:
    """It says 500, 400, or 200 with an error in it: so nothing may depend on its word."""
    async with Scene() as scene:
        scene.log_in(life=10 * MINUTE)
        manager = await scene.start()
        for _ in range(6 * 60):
            await scene.pass_time(MINUTE)
            token = await manager.token(NAME, url_of(NAME))
            assert token is not None
            assert scene.takes(NAME, token)
        scene.require_good()


@pytest.mark.parametrize("trouble", [Trouble.NETWORK, Trouble.UPSTREAM, Trouble.REJECTED])
@virtually
async def test_a_server_that_is_down_for_a_week_keeps_its_login(trouble: Trouble) -> None:
    """A refresh depends on nothing but the grant."""
    async with Scene(looked_every=HOUR, tick=10 * MINUTE) as scene:
        scene.log_in()
        scene.connections[NAME] = Connection(ConnectionState.ERROR, trouble=trouble, error="down")
        await scene.start()
        await scene.pass_time(7 * DAY)
        assert all(seen.health.action != "login" for seen in scene.seen)
        assert scene.presented() == 209
        del scene.connections[NAME]
        scene.require_good()


# --- storms ---------------------------------------------------------------------------------


class Limit:
    """A provider that takes so many requests a second and answers 429 to the rest."""

    def __init__(self, to_a_second: int) -> None:
        self.most = to_a_second
        self.times: list[float] = []

    async def __call__(self, visit: Visit) -> Reply:
        now = visit.at
        self.times = [at for at in self.times if now - at < 1]
        if len(self.times) >= self.most:
            return await instead(429, b"", {**JSON, "retry-after": "1"})(visit)
        self.times.append(now)
        return await honest(visit)


@virtually
async def test_forty_logins_that_expired_in_the_night_are_all_usable_soon() -> None:
    async with Scene() as scene:
        names = [f"server-{number}" for number in range(40)]
        for name in names:
            scene.log_in(name)
        await scene.pass_time(8 * HOUR)
        scene.provider.manner = Limit(10)
        await scene.start()
        await scene.call(names[39])
        assert scene.calls.served == 1  # who is waited for goes first
        await scene.pass_time(2 * MINUTE)
        for name in names:
            assert await scene.call(name)
            scene.require_good(name)


@virtually
async def test_the_23_millionth_retry_waits_as_long_as_the_tenth() -> None:
    """Elsewhere its delay had become 0 s."""
    async with Scene(looked_every=DAY, tick=DAY) as scene:
        grant = scene.log_in(life=HOUR)
        failure = RefreshFailure(FailureKind.TRANSIENT, "HTTP 503", status=503)
        now = scene.clock.now()
        scene.put(replace(grant, failures=FailureRun(23_158_726, now, now, failure)))
        scene.provider.manner = instead(503)
        await scene.start()
        await scene.pass_time(2 * DAY)
        assert scene.presented() <= 2 * 24 * 12 + 6
        failures = scene.stored.failures
        assert failures is not None
        assert failures.count == 23_158_726 + scene.presented()
        scene.provider.manner = honest
        await scene.pass_time(6 * MINUTE)
        scene.require_good()
