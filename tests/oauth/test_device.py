"""Logins at another device, against a scripted provider."""

import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from mcpproxy.core.errors import DiscoveryFailed, LoginDenied, LoginError, LoginTimedOut
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import FailureKind, GrantType, OAuthConfig, RefreshFailure, Secret
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.provider_ports import DeviceWait
from mcpproxy.oauth.registration import DEVICE_GRANT
from tests.oauth.made import ISSUER, NOW, REDIRECT, SERVER, answer, nothing
from tests.oauth.test_conversation import AUTH, CHALLENGE, UPSTREAM, World

pytestmark = pytest.mark.anyio

DEVICE = f"{ISSUER}/device-authorization"
CODES = {
    "device_code": "the-device-code",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/device",
    "verification_uri_complete": f"{ISSUER}/device?user_code=WDJB-MJHT",
    "expires_in": 900,
    "interval": 7,
}
SECOND = timedelta(seconds=1)
LOST = NoReply(RefreshFailure(FailureKind.UNKNOWN, "timeout"))


def codes(**changes: object) -> HttpReply:
    fields = {name: value for name, value in (CODES | changes).items() if value is not None}
    return answer(200, json.dumps(fields))


def a_world(reply: HttpReply | NoReply | list[HttpReply | NoReply] | None = None) -> World:
    world = World()
    world.metadata["device_authorization_endpoint"] = DEVICE
    world.network.replies[f"GET {AUTH}"] = answer(200, json.dumps(world.metadata))
    world.network.replies[f"POST {DEVICE}"] = reply or codes()
    return world


async def begun(world: World, config: OAuthConfig | None = None) -> PendingLogin:
    upstream = replace(UPSTREAM, oauth=config)
    return await world.conversation.prepare_device(upstream, REDIRECT, challenge=CHALLENGE)


async def polled(world: World, reply: HttpReply | NoReply) -> Secret | DeviceWait:
    login = await begun(world)
    world.network.replies[f"POST {ISSUER}/token"] = reply
    return await world.conversation.poll_device(login)


def error(code: str, status: int = 400, **headers: str) -> HttpReply:
    return answer(status, json.dumps({"error": code}), headers=headers)


async def test_the_person_is_told_a_code_and_a_page() -> None:
    world = a_world()
    login = await begun(world)
    assert login.device is not None
    assert login.device.user_code == "WDJB-MJHT"
    assert login.device.verification_uri == f"{ISSUER}/device"
    assert login.device.interval == 7 * SECOND
    assert login.authorization_url == f"{ISSUER}/device?user_code=WDJB-MJHT"
    assert login.expires_at == NOW + timedelta(minutes=15)
    request = world.network.requests[-1]
    assert request.on_behalf_of == SERVER
    assert parse_qs(request.body.decode()) == {
        "client_id": ["c1"],
        "scope": ["read offline_access"],
        "resource": [SERVER],
    }


async def test_the_client_is_registered_for_devices_and_used_again() -> None:
    world = a_world()
    login = await begun(world)
    sent = json.loads(next(r for r in world.network.requests if r.url == f"{ISSUER}/register").body)
    assert sent["grant_types"] == ["authorization_code", "refresh_token", DEVICE_GRANT]
    assert (await begun(world)).client == login.client
    assert world.registrations() == 1


async def test_a_client_registered_for_browsers_only_is_registered_anew() -> None:
    world = a_world()
    in_browser = await world.prepare()
    login = await begun(world)
    assert login.client.client_id != in_browser.client.client_id
    assert (await world.prepare()).client == login.client, "one client for both from now on"
    assert world.registrations() == 2


async def test_what_the_configuration_adds_is_asked_for_too() -> None:
    world = a_world()
    config = OAuthConfig(client_id="mine", extra_params={"audience": "x", "client_id": "no"})
    await begun(world, config)
    sent = parse_qs(world.network.requests[-1].body.decode())
    assert (sent["audience"], sent["client_id"]) == (["x"], ["mine"])


async def test_a_provider_that_does_not_want_the_resource_is_asked_once_more_without() -> None:
    world = a_world([error("invalid_target"), codes()])
    login = await begun(world)
    assert login.resource is None
    assert b"resource" not in world.network.requests[-1].body


async def test_a_provider_without_device_logins_is_told_apart_and_the_browser_named() -> None:
    world = World()
    with pytest.raises(DiscoveryFailed, match="no logins by a device code") as caught:
        await begun(world)
    assert "browser" in caught.value.next_step


@pytest.mark.parametrize(
    ("reply", "because"),
    [
        (error("unauthorized_client", 401), "unauthorized_client"),
        (answer(200, "{}"), "no code"),
        (answer(200, "<html>"), "no code"),
        (codes(device_code=None), "no code"),
        (codes(user_code="a\x1b[2J"), "no code"),
        (nothing("connection refused"), "connection refused"),
    ],
)
async def test_a_provider_that_gives_no_code_says_why(
    reply: HttpReply | NoReply, because: str
) -> None:
    with pytest.raises(LoginError, match=because):
        await begun(a_world(reply))


@pytest.mark.parametrize(
    "page", ["javascript:x()", "http://auth.example/device", "https://user@auth.example/", 7, None]
)
async def test_a_page_that_nobody_should_open_ends_the_login(page: object) -> None:
    with pytest.raises(DiscoveryFailed, match="verification_uri"):
        await begun(a_world(codes(verification_uri=page)))


async def test_a_bad_shortcut_is_left_out() -> None:
    login = await begun(a_world(codes(verification_uri_complete="javascript:x()")))
    assert login.authorization_url == f"{ISSUER}/device"


@pytest.mark.parametrize(
    ("changes", "interval", "life"),
    [
        ({"interval": None}, 5, 900),
        ({"interval": -3}, 5, 900),
        ({"interval": 100_000}, 300, 900),
        ({"expires_in": None}, 7, 600),
        ({"expires_in": "nonsense"}, 7, 600),
        ({"expires_in": 10**9}, 7, 600),
        ({"expires_in": 7200}, 7, 1800),
    ],
)
async def test_odd_times_become_sensible_ones(
    changes: dict[str, object], interval: int, life: int
) -> None:
    login = await begun(a_world(codes(**changes)))
    assert login.device is not None
    assert login.device.interval == interval * SECOND
    assert login.expires_at == NOW + life * SECOND


# --- asking -------------------------------------------------------------------------------------


async def test_a_poll_presents_the_device_code_at_the_token_endpoint() -> None:
    world = a_world()
    await polled(world, error("authorization_pending"))
    request = world.network.requests[-1]
    assert request.url == f"{ISSUER}/token"
    assert parse_qs(request.body.decode()) == {
        "grant_type": [DEVICE_GRANT],
        "device_code": ["the-device-code"],
        "client_id": ["c1"],
        "resource": [SERVER],
    }


@pytest.mark.parametrize(
    ("reply", "pause", "interval"),
    [
        (error("authorization_pending"), 7, 7),
        (error("authorization_pending", 200), 7, 7),
        (error("authorization_pending", 428), 7, 7),
        (error("slow_down"), 12, 12),
        (error("slow_down", 429), 12, 12),
        (nothing(), 7, 7),
        (LOST, 14, 14),
        (answer(503), 7, 7),
        (answer(429, headers={"retry-after": "30"}), 30, 7),
        (answer(302, headers={"location": "http://portal/"}), 7, 7),
        (answer(200, "<html>sign in</html>"), 7, 7),
        (answer(200, ""), 7, 7),
        (answer(200, '{"access_token":', complete=False), 7, 7),
    ],
)
async def test_whatever_is_no_answer_of_the_person_is_waited_out(
    reply: HttpReply | NoReply, pause: int, interval: int
) -> None:
    assert await polled(a_world(), reply) == DeviceWait(pause * SECOND, interval * SECOND)


async def test_tokens_come_back_unread_and_make_a_grant() -> None:
    world = a_world()
    login = await begun(world)
    said = await world.conversation.poll_device(login)
    assert isinstance(said, Secret)
    grant = world.conversation.read_code_answer(login, said, NOW)
    assert grant.grant_type is GrantType.DEVICE_CODE
    assert grant.tokens.refresh_token == Secret("r1")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("access_denied", LoginDenied),
        ("authorization_declined", LoginDenied),
        ("expired_token", LoginTimedOut),
        ("invalid_grant", LoginError),
        ("invalid_client", LoginError),
        ("something_new", LoginError),
    ],
)
async def test_a_clear_no_ends_the_login_in_its_own_way(code: str, kind: type[LoginError]) -> None:
    world = a_world()
    login = await begun(world)
    world.network.replies[f"POST {ISSUER}/token"] = error(code)
    said = await world.conversation.poll_device(login)
    assert isinstance(said, Secret)
    with pytest.raises(kind) as caught:
        world.conversation.read_code_answer(login, said, NOW)
    assert type(caught.value) is kind
