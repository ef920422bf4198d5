"""Providers that refuse for now what they will take later: before the access token is dead, or
before every replica has heard of the refresh token.
"""

from datetime import timedelta

import pytest

from mcpproxy.core.notices import LoginLost
from tests.custody.bench import HOUR, NAME, SECOND, virtually
from tests.field.parts import asks
from tests.field.provider import Reply, Visit, error, honest
from tests.field.scene import DAY, MINUTE, Scene
from tests.proof import record
from tests.simulation.provider import Rotation

STILL_VALID = error("invalid_grant", description="token still valid")
NOT_KNOWN_YET = error("invalid_grant", description="unknown refresh token")


class RefusesWhileAlive:
    """No refresh before its time: `invalid_grant` as long as the newest access token lives."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.refused_at: list[float] = []
        self.granted_at: list[float] = []

    async def __call__(self, visit: Visit) -> Reply:
        newest = list(visit.family.access.values())[-1]
        if visit.at < newest:
            self._scene.refusing.add(NAME)
            self.refused_at.append(visit.at)
            return await STILL_VALID(visit)
        self._scene.refusing.discard(NAME)
        self.granted_at.append(visit.at)
        return await honest(visit)


class LaggingReplicas:
    """Storage that is consistent some time later: a new refresh token is not known everywhere."""

    def __init__(self, lag: float) -> None:
        self._lag = lag
        self.refused = 0

    async def __call__(self, visit: Visit) -> Reply:
        issue = next(i for i in visit.family.issues if i.value == visit.token)
        if visit.at - issue.made_at < self._lag:
            self.refused += 1
            return await NOT_KNOWN_YET(visit)
        return await honest(visit)


def an_early_refuser(scene: Scene, life: timedelta) -> RefusesWhileAlive:
    scene.log_in(life=life, rotation=Rotation.STRICT)
    manner = scene.provider.manner = RefusesWhileAlive(scene)
    return manner


def said_login(scene: Scene) -> list[float]:
    """When health came to ask for a login."""
    return [seen.at for seen in scene.seen if asks(seen)]


@pytest.mark.parametrize("life", [40 * SECOND, 5 * MINUTE, HOUR, DAY])
@virtually
async def test_an_early_refusal_happens_in_the_first_cycle_alone(life: timedelta) -> None:
    """Then the provider is asked when the access token is dead, and not before."""
    pause, tick = life / 59, max(SECOND, life / 600)
    async with Scene(looked_every=max(SECOND, life / 300), tick=tick) as scene:
        manner = an_early_refuser(scene, life)
        await scene.start()
        scene.call_every(pause)
        await scene.pass_time(max(life + MINUTE, 1.5 * life))
        assert scene.truth().ended is None
        assert scene.grant().learned.refuses_early
        refused, asked, failed = len(manner.refused_at), said_login(scene), scene.calls.refused[:]
        assert refused == (2 if life > MINUTE else 1)
        without_token = manner.granted_at[0] * SECOND - life
        assert without_token <= max(10 * SECOND, 90 * SECOND - life / 5) + 2 * SECOND
        assert len(failed) <= without_token / pause + 1
        await scene.pass_time(8 * life)
        assert scene.grant().refresh_count >= 8
        assert len(manner.refused_at) == refused, "refused after it was learned"
        assert said_login(scene) == asked, "a login was asked for after it was learned"
        assert scene.calls.refused == failed
        assert scene.calls.pending == []
        scene.require_good(presented=refused + scene.grant().refresh_count)
        record(
            f"early-refusals-{life}",
            goal="who refuses to refresh a living access token is asked at its death from then on",
            held=f"{refused} refusals before the first of {scene.grant().refresh_count} refreshes",
            figures={
                "refusals after the first cycle": len(manner.refused_at) - refused,
                "seconds without a token in the first cycle": round(without_token / SECOND, 1),
            },
        )


@virtually
async def test_calls_are_served_while_an_early_refusal_is_taken_for_an_end() -> None:
    """Two refusals are a verdict, and it is wrong until the access token is dead: nobody fails
    before, and nobody has to act.
    """
    async with Scene(tick=SECOND) as scene:
        an_early_refuser(scene, HOUR)
        await scene.start()
        scene.call_every(10 * SECOND)
        await scene.pass_time(HOUR - SECOND)
        assert scene.health().cause == "grant_ended"
        assert scene.calls.served == scene.calls.total
        assert len(scene.notices.of(LoginLost)) == 1
        await scene.pass_time(30 * SECOND)
        scene.require_good(presented=3)
        assert len(scene.calls.refused) <= 2


@virtually
async def test_a_login_that_is_refused_early_outlives_the_night_and_a_restart() -> None:
    """The last question is asked when the machine is awake again, whenever that is."""
    async with Scene(tick=SECOND) as scene:
        manner = an_early_refuser(scene, HOUR)
        await scene.start()
        await scene.pass_time(50 * MINUTE)
        assert len(manner.refused_at) == 2
        await scene.stop()
        await scene.pass_time(8 * HOUR)
        await scene.start()
        await scene.pass_time(15 * SECOND)
        scene.require_good(presented=3)
        await scene.stop()
        await scene.start()
        await scene.pass_time(3 * HOUR)
        assert len(manner.refused_at) == 2, "what was learned is stored"
        scene.require_good()


@virtually
async def test_a_login_that_is_over_is_asked_about_three_times_though_the_last_time_is_late() -> (
    None
):
    async with Scene(tick=SECOND) as scene:
        scene.log_in(life=HOUR)
        await scene.start()
        scene.call_every(MINUTE)
        await scene.pass_time(40 * MINUTE)
        scene.provider.truth.end(NAME, scene.provider.now())
        await scene.pass_time(10 * HOUR)
        scene.require_gone("invalid_grant")
        assert scene.presented() == 3


@pytest.mark.parametrize("life", [5 * MINUTE, HOUR])
@pytest.mark.parametrize("lag", [15, 55])
@virtually
async def test_a_token_that_not_every_replica_knows_yet_is_no_dead_login(
    lag: int, life: timedelta
) -> None:
    """The access token is not known either, so the server's 401 asks for a refresh at once."""
    async with Scene(tick=SECOND) as scene:
        scene.log_in(rotation=Rotation.UNTIL_SUCCESSOR_USED, life=life)
        manner = scene.provider.manner = LaggingReplicas(lag)
        await scene.start()
        scene.call_every(3 * SECOND)
        for _ in range(6):
            await scene.pass_time(1.1 * life)
            for _ in range(4):  # the newest are refused too
                for token in scene.truth().access:
                    scene.truth().access[token] = scene.provider.now()
                await scene.pass_time(5 * SECOND)
            await scene.pass_time(5 * MINUTE)
        assert manner.refused >= 6
        assert said_login(scene) == []
        assert scene.calls.refused == []
        assert not scene.grant().learned.refuses_early
        await scene.pass_time(10 * MINUTE)
        assert await scene.call()
        scene.require_good()
        scene.prove(
            f"lagging-replicas-{lag}-s-{life}",
            f"a refresh token that replicas hear of after {lag} s is no dead login",
            refusals=manner.refused,
        )
