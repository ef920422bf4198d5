"""Providers whose tokens live by rules of their own."""

from mcpproxy.core.notices import LoginLost
from tests.custody.bench import HOUR, NAME, SECOND, virtually
from tests.field.provider import (
    RESET,
    Reply,
    Visit,
    honest,
    instead,
    revoking_the_old_access_token,
    with_fields,
)
from tests.field.scene import DAY, MINUTE, Scene
from tests.simulation.provider import Rotation


@virtually
async def test_an_early_refresh_that_is_answered_400_costs_neither_token_nor_login() -> None:
    """The living token is never cleared; it is asked again until its time has come."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        too_early = instead(400, {"error": "too_early", "error_description": "still valid"})

        async def in_time(visit: Visit) -> Reply:
            newest = list(visit.family.access.values())[-1]
            return await (too_early if visit.at < newest else honest)(visit)

        scene.provider.manner = in_time
        await scene.start()
        scene.call_every(MINUTE)
        await scene.pass_time(6 * HOUR)
        assert scene.calls.refused == []
        assert scene.calls.served >= 0.9 * scene.calls.total
        assert scene.grant().refresh_count >= 5
        scene.require_good()


class OneDeep:
    """The token before the last may be used once more; that kills the last."""

    def __init__(self) -> None:
        self.killed: list[str] = []
        self.presented_killed = 0

    async def __call__(self, visit: Visit) -> Reply:
        self.presented_killed += visit.token in self.killed
        issues = visit.family.issues
        place = next(n for n, issue in enumerate(issues) if issue.value == visit.token)
        self.killed += [issue.value for issue in issues[place + 1 :]]
        return await honest(visit)


@virtually
async def test_one_deep_rotation_is_never_raced() -> None:
    """Three processes, and an answer in eight is lost."""
    async with Scene() as scene:
        scene.log_in(life=5 * MINUTE, rotation=Rotation.UNTIL_SUCCESSOR_USED)
        one_deep = OneDeep()

        async def sometimes_lost(visit: Visit) -> Reply:
            reply = await one_deep(visit)
            return reply if len(scene.provider.visits) % 8 else RESET

        scene.provider.manner = sometimes_lost
        for number in range(3):
            await scene.start(f"p{number}")
        await scene.pass_time(3 * HOUR)
        assert one_deep.killed
        assert one_deep.presented_killed == 0
        assert await scene.call(process="p0")
        scene.require_good()


@virtually
async def test_two_processes_at_a_provider_that_revokes_on_refresh() -> None:
    """Notion: each refresh ends the access tokens before it; reuse ends the login."""
    async with Scene() as scene:
        scene.log_in(life=5 * MINUTE, rotation=Rotation.STRICT)
        scene.provider.manner = revoking_the_old_access_token
        for name in ("p1", "p2"):
            await scene.start(name)
            scene.call_every(17 * SECOND, process=name)
        await scene.pass_time(3 * HOUR)
        assert scene.calls.served == scene.calls.total
        tokens = [visit.token for visit in scene.provider.visits]
        assert len(tokens) == len(set(tokens))
        scene.require_good()


@virtually
async def test_a_login_elsewhere_that_ends_ours_is_the_providers_verdict() -> None:
    """Sentry: a new login of the same person revoked the others. Ours is told, and why."""
    async with Scene() as scene:
        scene.log_in()
        await scene.start()
        scene.call_every(MINUTE)
        await scene.pass_time(20 * MINUTE)
        scene.provider.truth.end(NAME, scene.provider.now())
        await scene.pass_time(10 * MINUTE)
        scene.require_gone("invalid_grant")
        lost_logins = scene.notices.of(LoginLost)
        assert [(n.reason, n.evidence) for n in lost_logins] == [
            ("provider_ended", "invalid_grant")
        ]


@virtually
async def test_an_end_after_30_days_is_told_ahead() -> None:
    """Cloudflare's library cuts the last access tokens short, and nothing can extend the login."""
    async with Scene(looked_every=HOUR, tick=HOUR) as scene:
        scene.log_in()
        ends_at = (30 * DAY).total_seconds()

        async def until_the_end(visit: Visit) -> Reply:
            left = int(ends_at - visit.at)
            if left <= 0:
                scene.provider.truth.end(NAME, scene.provider.now())
                return await honest(visit)
            return await with_fields(expires_in=min(3600, left))(visit)

        scene.provider.manner = until_the_end
        await scene.start()
        await scene.pass_time(31 * DAY)
        told = [seen for seen in scene.seen if seen.health.cause == "grant_ends"]
        assert told
        assert told[0].at < ends_at
        scene.require_gone("invalid_grant")
