"""Mending a client and an endpoint, over a scripted network."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import (
    AuthMethod,
    ClientRegistration,
    FailureKind,
    Grant,
    GrantType,
    RefreshFailure,
    Refusals,
    RegistrationSource,
    Secret,
)
from mcpproxy.core.provider_ports import Endpoints
from mcpproxy.oauth.registration import DEVICE_GRANT
from mcpproxy.oauth.repair import Repairs
from mcpproxy.storage.memory import MemoryStore
from tests.oauth.made import GRANT, ISSUER, NOW, FixedClock, Network, answer, nothing

pytestmark = pytest.mark.anyio

MANAGED = f"{ISSUER}/register/client-1"
AUTH = f"{ISSUER}/.well-known/oauth-authorization-server"
OPENID = f"{ISSUER}/.well-known/openid-configuration"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "code_challenge_methods_supported": ["S256"],
}
CLIENT = replace(
    GRANT.client,
    auth_method=AuthMethod.SECRET_POST,
    client_secret=Secret("old-secret"),
    secret_expires_at=NOW + timedelta(hours=1),
    registration_uri=MANAGED,
    registration_token=Secret("manage-1"),
)
REFUSED = RefreshFailure(FailureKind.REFUSED, "invalid_client", code="invalid_client", status=401)


def a_grant(client: ClientRegistration = CLIENT, *, refused: bool = False) -> Grant:
    refusals = Refusals(1, NOW, NOW, REFUSED) if refused else None
    return replace(GRANT, client=client, refusals=refusals)


def client_answer(status: int = 200, **changes: object) -> HttpReply:
    fields = {
        "client_id": "client-1",
        "client_secret": "old-secret",
        "client_secret_expires_at": int((NOW + timedelta(hours=1)).timestamp()),
        "client_id_issued_at": 1_700_000_000,
        "redirect_uris": [CLIENT.redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "default_max_age": 3600,
        "registration_access_token": "manage-1",
        "registration_client_uri": MANAGED,
        **changes,
    }
    return answer(status, json.dumps(fields))


class World:
    def __init__(self, **replies: HttpReply | NoReply) -> None:
        """`read`, `update`, `register`, `metadata` and `probe` are what the provider answers."""
        self.network = Network(
            {
                f"GET {MANAGED}": replies.get("read", answer(404)),
                f"PUT {MANAGED}": replies.get("update", answer(404)),
                f"GET {AUTH}": replies.get("metadata", answer(200, json.dumps(METADATA))),
                f"POST {ISSUER}/register": replies.get(
                    "register", answer(201, '{"client_id":"client-2"}')
                ),
                f"GET {ISSUER}/oauth/token": replies.get("probe", answer(405)),
            }
        )
        self.store = MemoryStore()
        self.repairs = Repairs(self.network, self.store, FixedClock())

    async def renew(self, grant: Grant) -> ClientRegistration | None:
        return await self.repairs.renew_client(grant)


# --- the same client, renewed (RFC 7592) --------------------------------------------------------


async def test_a_secret_that_was_renewed_at_the_provider_is_taken_over() -> None:
    later = int((NOW + 90 * DAY).timestamp())
    world = World(read=client_answer(client_secret="new-secret", client_secret_expires_at=later))
    renewed = await world.renew(a_grant(refused=True))
    assert renewed == replace(
        CLIENT, client_secret=Secret("new-secret"), secret_expires_at=NOW + 90 * DAY
    )
    assert await world.store.load_registration(ISSUER, CLIENT.redirect_uri) == renewed
    (asked,) = world.network.requests
    assert asked.headers["authorization"] == "Bearer manage-1"
    assert asked.on_behalf_of == GRANT.server_url


async def test_a_secret_that_is_about_to_end_is_renewed_by_an_update() -> None:
    later = int((NOW + 90 * DAY).timestamp())
    world = World(
        read=client_answer(),
        update=client_answer(
            client_secret="new-secret",
            client_secret_expires_at=later,
            registration_access_token="manage-2",
        ),
    )
    renewed = await world.renew(a_grant())
    assert renewed is not None
    assert renewed.client_id == "client-1"
    assert renewed.client_secret == Secret("new-secret")
    assert renewed.registration_token == Secret("manage-2")
    update = world.network.requests[-1]
    assert json.loads(update.body) == {
        "client_id": "client-1",
        "client_secret": "old-secret",
        "redirect_uris": [CLIENT.redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "default_max_age": 3600,
    }, "all that was said of it, but what the RFC forbids"


async def test_a_client_that_is_well_is_left_alone() -> None:
    never = client_answer(client_secret_expires_at=0)
    world = World(read=never)
    client = replace(CLIENT, secret_expires_at=None)
    assert await world.renew(a_grant(client, refused=True)) is None
    assert world.network.log == [f"GET {MANAGED}"]


async def test_a_client_that_still_works_is_never_given_up_for_another() -> None:
    world = World(read=answer(404))
    assert await world.renew(a_grant()) is None
    assert f"POST {ISSUER}/register" not in world.network.log


async def test_an_answer_about_another_client_is_not_believed() -> None:
    world = World(read=client_answer(client_id="client-9", client_secret="theirs"))
    assert await world.renew(a_grant(refused=True)) is None


@pytest.mark.parametrize("reply", [nothing(), answer(503), answer(429), answer(302)])
async def test_a_provider_that_cannot_be_asked_gets_no_second_client(
    reply: HttpReply | NoReply,
) -> None:
    world = World(read=reply)
    assert await world.renew(a_grant(refused=True)) is None
    assert world.network.log == [f"GET {MANAGED}"]


# --- another client (RFC 7591) ------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_client_that_is_gone_is_registered_again(status: int) -> None:
    world = World(read=answer(status))
    renewed = await world.renew(a_grant(refused=True))
    assert renewed is not None
    assert renewed.client_id == "client-2"
    assert (renewed.issuer, renewed.redirect_uri) == (ISSUER, CLIENT.redirect_uri)
    assert await world.store.load_registration(ISSUER, CLIENT.redirect_uri) == renewed


async def test_a_client_without_management_is_registered_again_when_it_is_refused() -> None:
    renewed = await World().renew(a_grant(GRANT.client, refused=True))
    assert renewed is not None
    assert renewed.client_id == "client-2"


async def test_a_login_of_a_device_gets_a_client_for_devices() -> None:
    world = World()
    grant = replace(a_grant(GRANT.client, refused=True), grant_type=GrantType.DEVICE_CODE)
    renewed = await world.renew(grant)
    assert renewed is not None
    assert DEVICE_GRANT in renewed.grant_types


async def test_a_secret_that_ended_and_is_not_renewed_makes_a_new_client() -> None:
    ended = replace(CLIENT, secret_expires_at=NOW - MINUTE)
    past = int((NOW - MINUTE).timestamp())
    world = World(read=client_answer(client_secret_expires_at=past))
    renewed = await world.renew(a_grant(ended))
    assert renewed is not None
    assert renewed.client_id == "client-2"


async def test_a_client_that_another_login_made_meanwhile_is_taken() -> None:
    world = World()
    other = replace(GRANT.client, client_id="client-7")
    await world.store.save_registration(other)
    assert await world.renew(a_grant(GRANT.client, refused=True)) == other
    assert world.network.log == []


async def test_another_logins_client_does_not_replace_one_that_works() -> None:
    world = World(read=client_answer(client_secret_expires_at=0))
    other = replace(GRANT.client, client_id="client-7")
    await world.store.save_registration(other)
    renewed = await world.renew(a_grant())
    assert renewed == replace(CLIENT, secret_expires_at=None)
    assert await world.store.load_registration(ISSUER, CLIENT.redirect_uri) == other


@pytest.mark.parametrize(
    "source", [RegistrationSource.CONFIGURED, RegistrationSource.METADATA_DOCUMENT]
)
async def test_a_persons_own_client_is_theirs(source: RegistrationSource) -> None:
    world = World()
    assert await world.renew(a_grant(replace(CLIENT, source=source), refused=True)) is None
    assert world.network.log == []


@pytest.mark.parametrize(
    "metadata",
    [
        nothing(),
        answer(503),
        answer(200, json.dumps(METADATA | {"issuer": "https://evil.example"})),
        answer(200, json.dumps(METADATA | {"registration_endpoint": None})),
        answer(302, headers={"location": "https://evil.example/metadata"}),
    ],
)
async def test_at_a_provider_that_is_not_itself_nothing_is_registered(
    metadata: HttpReply | NoReply,
) -> None:
    world = World(metadata=metadata)
    assert await world.renew(a_grant(GRANT.client, refused=True)) is None
    assert not [entry for entry in world.network.log if entry.startswith("POST")]


# --- the endpoint -------------------------------------------------------------------------------

MOVED = answer(200, json.dumps(METADATA | {"token_endpoint": f"{ISSUER}/oauth/token"}))


async def test_a_moved_endpoint_is_found_and_looked_at_before_a_token_goes_there() -> None:
    world = World(metadata=MOVED)
    found = await world.repairs.locate(GRANT)
    assert found == Endpoints(f"{ISSUER}/oauth/token", f"{ISSUER}/revoke")
    probe = world.network.requests[-1]
    assert (probe.method, probe.body, probe.on_behalf_of) == ("GET", b"", GRANT.server_url)


async def test_an_endpoint_that_did_not_move_is_no_news() -> None:
    assert await World().repairs.locate(GRANT) is None


@pytest.mark.parametrize(
    "metadata",
    [
        nothing(),
        answer(503),
        answer(404),
        answer(200, "<html>sign in to the network</html>"),
        answer(200, json.dumps(METADATA | {"issuer": "https://evil.example"})),
        answer(200, json.dumps(METADATA | {"issuer": f"{ISSUER}/tenant"})),
        answer(200, json.dumps(METADATA | {"token_endpoint": "http://auth.example/token"})),
        answer(200, json.dumps(METADATA | {"token_endpoint": 7})),
        answer(302, headers={"location": "https://evil.example/metadata"}),
    ],
)
async def test_who_answers_by_another_name_or_not_at_all_moves_nothing(
    metadata: HttpReply | NoReply,
) -> None:
    world = World(metadata=metadata)
    world.network.replies["GET https://evil.example/metadata"] = MOVED
    assert await world.repairs.locate(GRANT) is None
    assert "GET https://evil.example/metadata" not in world.network.log


async def test_an_endpoint_that_cannot_be_reached_is_not_moved_to() -> None:
    world = World(metadata=MOVED, probe=nothing("auth.example is in a private network"))
    assert await world.repairs.locate(GRANT) is None


async def test_metadata_that_moved_within_its_origin_is_followed() -> None:
    world = World(metadata=answer(307, headers={"location": "/elsewhere"}))
    world.network.replies[f"GET {ISSUER}/elsewhere"] = MOVED
    assert await world.repairs.locate(GRANT) is not None
