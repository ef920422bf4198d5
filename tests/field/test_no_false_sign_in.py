"""Whatever goes wrong without the provider ending the login: nobody is asked to log in."""

from datetime import timedelta
from random import Random

import pytest

from mcpproxy.core.errors import RefreshPending
from tests.custody.bench import HOUR, SECOND, virtually
from tests.field.provider import (
    BAD_TLS,
    HTML,
    JSON,
    NO_NAME,
    PAGE,
    REFUSED,
    Manner,
    after,
    dropped,
    error,
    honest,
    instead,
)
from tests.field.scene import DAY, MINUTE, Scene
from tests.simulation.provider import Rotation

MOST_AN_HOUR = 24
"""Every 5 min, and once more at once where an answer was lost that may have brought tokens."""

REDIRECT = {"location": "https://portal.example/sign-in"}

NOT_A_WORD: dict[str, Manner] = {
    "connection refused": REFUSED,
    "no such name": NO_NAME,
    "bad certificate": BAD_TLS,
    "reset": dropped,
    "500": instead(500, b"oops"),
    "502 page": instead(502, PAGE, HTML),
    "503 with Retry-After": instead(503, b"", {**JSON, "retry-after": "120"}),
    "504": instead(504),
    "530 (Cloudflare)": instead(530, b"error code: 1033"),
    "500 that speaks of invalid_grant": instead(500, {"error": "invalid_grant"}),
    "503 that speaks of invalid_client": instead(503, {"error": "invalid_client"}),
    "429": instead(429),
    "429 with Retry-After in seconds": instead(429, b"", {**JSON, "retry-after": "30"}),
    "429 with Retry-After as a date": instead(
        429, b"", {**JSON, "retry-after": "Thu, 01 Jan 2026 02:00:00 GMT"}
    ),
    "429 that speaks of invalid_grant": instead(429, {"error": "invalid_grant"}),
    "408": instead(408),
    "portal, 200": instead(200, PAGE, HTML),
    "portal, 302": instead(302, PAGE, {**HTML, **REDIRECT}),
    "portal, 511": instead(511, PAGE, HTML),
    "firewall, 403 page": instead(403, PAGE, HTML),
    "firewall, 401 page": instead(401, PAGE, HTML),
    "firewall, 403 JSON": instead(403, {"message": "Forbidden"}),
    "page that speaks of invalid_grant": instead(400, PAGE + b" invalid_grant", HTML),
    "empty 200": instead(200),
    "empty 400": instead(400),
    "empty object": instead(200, b"{}"),
    "broken JSON": instead(200, b'{"access'),
    "JSON of somebody else": instead(200, {"status": "healthy"}),
    "64 MiB of nothing": instead(200, b" " * 262_144, complete=False),
    "temporarily_unavailable": error("temporarily_unavailable"),
    "refresh already in progress": instead(
        400,
        {
            "error": "temporarily_unavailable",
            "error_description": "refresh already in progress",
        },
        {**JSON, "retry-after": "30"},
    ),
    "server_error": error("server_error"),
    "slow_down": error("slow_down"),
    "Slack is limiting": instead(200, {"ok": False, "error": "ratelimited"}),
    "access_denied": error("access_denied", 403),
    "unsupported_grant_type": error("unsupported_grant_type"),
    "invalid_request about something else": error(
        "invalid_request", description="missing parameter"
    ),
    "Google's error object": instead(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}),
}


@pytest.mark.parametrize("manner", NOT_A_WORD.values(), ids=NOT_A_WORD)
@virtually
async def test_what_is_not_the_providers_word_ends_no_login(manner: Manner) -> None:
    """Three hours of it; then the strict provider is back and the login goes on."""
    async with Scene(looked_every=10 * SECOND) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.start()
        scene.call_every(5 * MINUTE)
        scene.provider.manner = manner
        await scene.pass_time(3 * HOUR)
        assert scene.calls.refused == []
        assert all(isinstance(told, RefreshPending) for told in scene.calls.pending)
        assert scene.health().level != "healthy"
        assert scene.health().action != "login"
        assert scene.presented() <= 3 * MOST_AN_HOUR
        scene.provider.manner = honest
        await scene.pass_time(2 * HOUR)
        assert await scene.call()
        scene.require_good()


@virtually
async def test_two_weeks_of_bad_answers_end_no_login() -> None:
    """As measured in the field: 626 times 400, 102 times 502, 44 times 530, twice 500."""
    async with Scene(looked_every=MINUTE, tick=5 * MINUTE) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        random = Random(105372)
        weather = [instead(400)] * 626 + [instead(502)] * 102 + [instead(530)] * 44
        weather += [instead(500)] * 2 + [honest] * 120
        random.shuffle(weather)
        scene.provider.script += weather
        await scene.start()
        await scene.pass_time(14 * DAY)
        assert await scene.call()
        scene.require_good()


@virtually
async def test_a_provider_that_is_away_for_30_days_costs_no_login() -> None:
    async with Scene(looked_every=DAY, tick=HOUR) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        random = Random(30)
        ways = list(NOT_A_WORD.values())

        scene.provider.script += [random.choice(ways) for _ in range(20_000)]
        await scene.start()
        await scene.pass_time(30 * DAY)
        visits = scene.presented() + scene.provider.unsent
        assert 1500 < visits <= 30 * 24 * MOST_AN_HOUR
        scene.provider.script.clear()
        await scene.pass_time(HOUR)
        assert await scene.call()
        scene.require_good()
        scene.prove(
            "field-outage",
            "A provider that is away for 30 days, in every way there is, costs no login",
            days=30,
            ways=len(ways),
            attempts=visits,
        )


@virtually
async def test_what_lives_is_served_while_all_else_is_down() -> None:
    """Static stability: no provider, no disk, and restarts."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.manner = NO_NAME
        scene.disk.is_full = True
        scene.call_every(MINUTE)
        for _ in range(5):
            await scene.start()
            await scene.pass_time(11 * MINUTE)
            await scene.stop()
            scene.disk.is_full = True
        await scene.start()
        assert scene.calls.served == scene.calls.total > 50


@virtually
async def test_a_disk_that_is_full_for_hours_asks_for_no_login() -> None:
    """Nothing is sent whose outcome could not be written."""
    async with Scene(looked_every=MINUTE) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.start()
        scene.call_every(10 * MINUTE)
        scene.disk.is_full = True
        await scene.pass_time(8 * HOUR)
        assert scene.presented() == 0
        assert scene.calls.refused == []
        assert scene.health().action != "login"
        scene.disk.is_full = False
        await scene.pass_time(MINUTE)
        assert await scene.call()
        scene.require_good(presented=1)
        scene.prove("field-disk-full", "A disk that is full for hours costs no login", hours=8)


@virtually
async def test_a_store_that_cannot_be_read_for_hours_asks_for_no_login() -> None:
    async with Scene(looked_every=MINUTE) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.start()
        scene.disk.is_unreadable = True
        await scene.pass_time(8 * HOUR)
        assert scene.presented() == 0
        scene.disk.is_unreadable = False
        await scene.pass_time(MINUTE)
        assert await scene.call()
        scene.require_good(presented=1)


@pytest.mark.parametrize("days", [365, -365, 1, -1, 3650])
@virtually
async def test_a_clock_that_is_wrong_costs_a_few_refreshes_and_no_login(days: int) -> None:
    """Set, used for a day, and set right again."""
    async with Scene(tick=SECOND * 5) as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.start()
        scene.call_every(10 * MINUTE)
        await scene.pass_time(10 * MINUTE)
        for step in (timedelta(days=days), -timedelta(days=days)):
            before = scene.presented()
            scene.clock.step(step)
            await scene.pass_time(3 * HOUR)
            assert scene.presented() - before <= 5
        assert scene.calls.refused == []
        assert await scene.call()
        scene.require_good()
        goal = "A clock that is set, used for hours, and set right again costs no login"
        scene.prove(f"field-clock-{days}", goal, days=days)


@virtually
async def test_a_daemon_that_starts_with_a_wrong_clock_asks_for_no_login() -> None:
    """A machine without a battery begins in the past, and jumps when it hears the time."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        scene.clock.step(timedelta(days=-3000))
        await scene.start()
        await scene.pass_time(2 * MINUTE)
        scene.clock.step(timedelta(days=3000))
        await scene.pass_time(2 * HOUR)
        assert await scene.call()
        scene.require_good()


REPLAYABLE = (Rotation.NONE, Rotation.UNTIL_SUCCESSOR_USED)


@pytest.mark.parametrize("rotation", REPLAYABLE)
@virtually
async def test_a_backup_that_is_put_back_asks_for_no_login(rotation: Rotation) -> None:
    """As long as the provider would still take what is in it."""
    async with Scene() as scene:
        scene.log_in(rotation=rotation)
        await scene.start()
        backup = scene.stored
        await scene.pass_time(0.9 * HOUR)
        await scene.stop()
        assert scene.stored.generation == 2
        scene.put(backup)
        await scene.start()
        await scene.pass_time(DAY / 4)
        assert await scene.call()
        scene.require_good()
        goal = "A backup that is put back costs no login that its provider would still refresh"
        scene.prove(f"field-backup-{rotation}", goal)


@virtually
async def test_one_invalid_grant_that_is_not_meant_asks_for_no_login() -> None:
    """KV storage that lags, incidents, a replica: the confirmation finds it well."""
    async with Scene(tick=SECOND) as scene:
        scene.log_in(rotation=Rotation.UNTIL_SUCCESSOR_USED)
        await scene.start()
        scene.call_every(MINUTE)
        for _ in range(10):
            scene.provider.script.append(error("invalid_grant"))
            await scene.pass_time(HOUR)
        assert "refresh_refused" in scene.causes()
        assert scene.calls.served == scene.calls.total
        scene.require_good()


@virtually
async def test_a_slow_provider_is_waited_for() -> None:
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        scene.provider.manner = after(19.5)
        await scene.start()
        scene.call_every(5 * MINUTE)
        await scene.pass_time(4 * HOUR)
        assert scene.calls.served == scene.calls.total
        scene.require_good(presented=4)


@virtually
async def test_a_retry_after_is_kept_to_the_second() -> None:
    async with Scene() as scene:
        scene.log_in()
        scene.provider.script.append(instead(503, b"", {**JSON, "retry-after": "300"}))
        scene.provider.script.append(
            instead(429, b"", {**JSON, "retry-after": "Thu, 01 Jan 2026 01:10:00 GMT"})
        )
        await scene.start()
        await scene.pass_time(1.3 * HOUR)
        first, second, third = scene.provider.visits
        assert 300 <= second.at - first.at <= 305
        assert 4200 <= third.at <= 4205
        scene.require_good()


@virtually
async def test_the_reason_is_on_show_for_as_long_as_there_is_one() -> None:
    """Nobody is left with 'authenticating' and no word why."""
    async with Scene() as scene:
        scene.log_in()
        await scene.start()
        for manner, said in ((NO_NAME, "name not found"), (instead(503), "HTTP 503")):
            scene.provider.manner = manner
            await scene.pass_time(2 * HOUR)
            assert said in scene.health().line
        scene.provider.manner = honest
        await scene.pass_time(HOUR)
        scene.require_good()
