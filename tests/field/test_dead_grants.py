"""Logins that their provider has ended, and the words in which real providers say so.

Each time health says so within 5 s of the verdict with the provider's own word, and the provider
sees no more than the refusal, its confirmation and one quiet probe.
"""

from datetime import timedelta

import pytest

from tests.custody.bench import HOUR, NAME, virtually
from tests.field.provider import FieldProvider, after, dead_as, honest, instead, lost
from tests.field.scene import MINUTE, MOST_REFUSED, Scene
from tests.simulation.provider import Rotation


def end(provider: FieldProvider) -> None:
    provider.truth.end(NAME, provider.now())


DEAD = {
    "RFC 6749": (400, {"error": "invalid_grant"}, "invalid_grant"),
    "GitHub, inside 200": (
        200,
        "error=bad_refresh_token&error_description=The+refresh+token+passed+is+expired.",
        "bad_refresh_token",
    ),
    "GitHub, inside 200, in JSON": (200, {"error": "bad_refresh_token"}, "bad_refresh_token"),
    "Slack": (200, {"ok": False, "error": "invalid_refresh_token"}, "invalid_refresh_token"),
    "Slack, revoked": (200, {"ok": False, "error": "token_revoked"}, "token_revoked"),
    "Metabase": (
        400,
        {"error": "invalid_request", "error_description": "Invalid refresh token"},
        "invalid_request",
    ),
    "Better Auth": (
        400,
        {"error": "invalid_request", "error_description": "session not found"},
        "invalid_request",
    ),
    "Atlassian": (
        403,
        {"error": "unauthorized_client", "error_description": "refresh_token is invalid"},
        "unauthorized_client",
    ),
    "Atlassian, 403": (403, {"error": "invalid_grant"}, "invalid_grant"),
    "Gram": (401, {"message": "Refresh token not found"}, "invalid_grant"),
    "token not found": (401, {"error": "token not found"}, "invalid_grant"),
    "Dust": (400, {"error": "invalid_refresh_token"}, "invalid_refresh_token"),
    "Supabase": (
        400,
        {"code": 400, "error_code": "refresh_token_not_found", "msg": "Invalid Refresh Token"},
        "refresh_token_not_found",
    ),
    "a session that is gone": (
        403,
        {"code": "session_not_found", "message": "Session from session_id claim does not exist"},
        "session_not_found",
    ),
    "Notion": (
        400,
        {"error": "invalid_grant", "error_description": "Refresh token reuse detected"},
        "invalid_grant",
    ),
    "Linear": (
        400,
        {"error": "invalid_grant", "error_description": "Grant not found"},
        "invalid_grant",
    ),
    "an error that is an object": (
        400,
        {"error": {"code": "invalid_grant", "message": "gone"}},
        "invalid_grant",
    ),
    "form-encoded": (400, "error=invalid_grant&error_description=revoked", "invalid_grant"),
    "a new sign-in is wanted (Entra)": (
        400,
        {"error": "interaction_required", "error_description": "AADSTS50076: use MFA"},
        "interaction_required",
    ),
}


@pytest.mark.parametrize("case", DEAD.values(), ids=DEAD)
@virtually
async def test_a_dead_login_is_told_in_the_providers_own_words(
    case: tuple[int, dict[str, object] | str, str],
) -> None:
    status, body, word = case
    async with Scene() as scene:
        scene.log_in()
        scene.provider.manner = dead_as(status, body)
        await scene.start()
        scene.call_every(MINUTE)
        await scene.pass_time(HOUR)
        end(scene.provider)
        await scene.pass_time(3 * HOUR)
        scene.require_gone(word)
        assert scene.presented() == 1 + MOST_REFUSED  # one refresh went well before


@virtually
async def test_a_login_that_ended_while_nothing_ran_is_told_at_the_first_refusal() -> None:
    """Its access token is dead too: there is nothing to wait for."""
    async with Scene() as scene:
        scene.log_in()
        end(scene.provider)
        await scene.pass_time(2 * HOUR)
        await scene.start()
        await scene.pass_time(timedelta(seconds=5))
        assert scene.presented() == 1
        scene.require_gone("invalid_grant")
        await scene.pass_time(HOUR)
        assert scene.presented() == MOST_REFUSED


@virtually
async def test_restarts_and_wakes_do_not_make_a_dead_login_be_presented_again() -> None:
    async with Scene() as scene:
        scene.log_in()
        end(scene.provider)
        for _ in range(10):
            manager = await scene.start()
            await scene.pass_time(20 * MINUTE)
            scene.clock.sleep(HOUR)
            manager.network_changed()
            await scene.pass_time(MINUTE)
            await scene.call()
            await scene.stop()
        assert scene.presented() == MOST_REFUSED


@virtually
async def test_many_processes_share_the_three_refusals_of_a_dead_login() -> None:
    async with Scene() as scene:
        scene.log_in()
        for number in range(7):
            await scene.start(f"p{number}")
            scene.call_every(MINUTE, process=f"p{number}")
        end(scene.provider)
        await scene.pass_time(3 * HOUR)
        assert scene.presented() == MOST_REFUSED
        scene.require_gone("invalid_grant")
        assert all(scene.health(process=f"p{number}").action == "login" for number in range(7))


@virtually
async def test_a_dead_login_behind_an_outage_is_told_when_the_provider_says_so() -> None:
    """Nobody can know before; from then on it is as ever."""
    async with Scene(looked_every=MINUTE) as scene:
        scene.log_in()
        end(scene.provider)
        scene.provider.manner = instead(503)
        await scene.start()
        await scene.pass_time(24 * HOUR)
        assert scene.health().level == "degraded"
        scene.provider.manner = after(15, honest)
        await scene.pass_time(HOUR)
        scene.require_gone("invalid_grant")


@virtually
async def test_a_word_that_nobody_knows_ends_no_login_and_is_repeated_by_health() -> None:
    """Whether it is about the grant, nobody can know: it is asked again, at the slowest pace."""
    async with Scene(looked_every=MINUTE) as scene:
        scene.log_in()
        scene.provider.manner = instead(400, {"error": "flux_failure"})
        await scene.start()
        await scene.pass_time(24 * HOUR)
        assert "flux_failure" in scene.health().line
        assert scene.health().action != "login"
        assert scene.presented() <= 24 * 12
        scene.provider.manner = honest
        await scene.pass_time(6 * MINUTE)
        scene.require_good()


@virtually
async def test_a_strict_provider_whose_answer_was_lost_is_told_apart() -> None:
    """Nobody can get that answer back; the verdict says what happened."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        scene.provider.script.append(lost)
        await scene.start()
        await scene.pass_time(2 * HOUR)
        scene.require_gone("invalid_grant", cause="grant_lost_in_transit")
        assert scene.truth().lost_in_transit
        assert scene.presented() == 1 + MOST_REFUSED
