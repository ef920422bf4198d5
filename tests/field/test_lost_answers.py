"""Answers that did not arrive, were not stored, or met nobody: the login goes on."""

import asyncio

import pytest

from mcpproxy.core.model import Grant
from tests.custody.bench import HOUR, NAME, SECOND, until, virtually
from tests.field.provider import (
    BAD_TLS,
    NO_NAME,
    REFUSED,
    Manner,
    after,
    dropped,
    honest,
    lost,
    silent,
)
from tests.field.scene import MINUTE, Scene
from tests.simulation.provider import Rotation

FORGIVING = (Rotation.LEEWAY_30, Rotation.LEEWAY_60, Rotation.UNTIL_SUCCESSOR_USED, Rotation.NONE)


@pytest.mark.parametrize("rotation", FORGIVING)
@pytest.mark.parametrize("manner", [lost, silent], ids=["reset", "silence"])
@virtually
async def test_a_lost_answer_is_asked_for_again_while_the_provider_forgives(
    manner: Manner, rotation: Rotation
) -> None:
    async with Scene() as scene:
        scene.log_in(rotation=rotation)
        scene.provider.script.append(manner)
        await scene.start()
        await scene.pass_time(HOUR)
        first, second = scene.provider.visits
        assert first.token == second.token
        assert 10 <= second.at - first.at <= 30
        scene.require_good(presented=2)


@virtually
async def test_a_lost_answer_on_every_wake_costs_no_login() -> None:
    """The laptop's lid: the network changes just when the answer is under way."""
    async with Scene(tick=SECOND) as scene:
        scene.log_in(rotation=Rotation.UNTIL_SUCCESSOR_USED)
        manager = await scene.start()
        for _ in range(10):
            scene.provider.script += [NO_NAME, lost]
            scene.clock.sleep(8 * HOUR)
            await scene.pass_time(2 * MINUTE)
            manager.network_changed()
            await scene.pass_time(2 * MINUTE)
            assert await scene.call()
        scene.require_good()


@pytest.mark.parametrize("failure", [NO_NAME, REFUSED, BAD_TLS], ids=["DNS", "TCP", "TLS"])
@virtually
async def test_what_never_left_has_spent_nothing(failure: Manner) -> None:
    """Nine times in eight days; with a provider that forgives nothing."""
    async with Scene(looked_every=10 * SECOND) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.start()
        for _ in range(9):
            scene.provider.manner = failure
            await scene.pass_time(3 * HOUR)
            scene.provider.manner = honest
            await scene.pass_time(HOUR / 2)
            assert await scene.call()
        scene.require_good()
        tokens = [visit.token for visit in scene.provider.visits]
        assert len(tokens) == len(set(tokens))


@virtually
async def test_a_request_that_was_lost_on_its_way_is_sent_again() -> None:
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        scene.provider.script += [dropped, dropped]
        await scene.start()
        await scene.pass_time(HOUR)
        scene.require_good(presented=3)


@virtually
async def test_callers_that_go_away_at_any_moment_cut_no_refresh() -> None:
    """A client disconnects every 7 ms, from before the refresh begins until after it ended."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.pass_time(2 * HOUR)
        scene.provider.manner = after(1)
        manager = await scene.start()
        for number in range(200):
            caller = asyncio.create_task(scene.call())
            await asyncio.sleep(0.007)
            if number % 3:
                caller.cancel()
            await asyncio.wait([caller])
        assert manager.grant(NAME) is not None
        scene.require_good(presented=1)


@virtually
async def test_stopping_mid_refresh_lets_the_answer_come_home() -> None:
    """The store is closed only after what was sent is stored; the next start sends nothing."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        scene.provider.manner = after(10)
        await scene.start()
        await until(lambda: scene.presented() == 1, within=3600)
        await scene.stop()
        assert scene.stored.generation == 2
        await scene.start()
        assert await scene.call()
        scene.require_good(presented=1)


@virtually
async def test_nothing_that_was_written_before_sending_keeps_the_next_try_back() -> None:
    """An intent that a dead process left is taken over at once, not after an hour."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.LEEWAY_30)
        scene.provider.script.append(silent)
        await scene.start("p1")
        await until(lambda: scene.presented() == 1, within=3600)
        scene.dead.add("p1")
        await scene.start("p2")
        await scene.pass_time(30 * SECOND)
        first, second = scene.provider.visits
        assert second.at - first.at <= 30
        scene.require_good(presented=2)


@virtually
async def test_a_disk_that_fills_up_under_an_answer_loses_nothing() -> None:
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)

        def fill(grant: Grant) -> None:
            if grant.attempt is not None and grant.attempt.answer is not None:
                scene.disk.is_full = True

        scene.disk.before_save = fill
        await scene.start()
        await scene.pass_time(0.9 * HOUR)
        assert scene.presented() == 1
        assert await scene.call()
        scene.disk.before_save = lambda grant: None
        scene.disk.is_full = False
        await scene.pass_time(MINUTE)
        assert await scene.call()
        scene.require_good(presented=1)
