"""A whole login over a scripted network and the memory store."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from mcpproxy.core.errors import DiscoveryFailed, LoginDenied, LoginError
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import OAuthConfig, RegistrationSource, Secret, Upstream
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.oauth.conversation import Conversation
from mcpproxy.storage.memory import MemoryStore
from tests.oauth.made import (
    GRANT,
    ISSUER,
    NOW,
    REDIRECT,
    SERVER,
    FixedClock,
    Network,
    answer,
    nothing,
)

pytestmark = pytest.mark.anyio

META = "https://mcp.example/.well-known/oauth-protected-resource/mcp"
AUTH = f"{ISSUER}/.well-known/oauth-authorization-server"
CHALLENGE = f'Bearer resource_metadata="{META}"'
UPSTREAM = Upstream("example", url=SERVER)
TOKENS = '{"access_token":"a1","refresh_token":"r1","expires_in":600,"scope":"read"}'


class World:
    """A provider that registers clients c1, c2, ... and whatever the test changes about it."""

    def __init__(self) -> None:
        registrations: list[HttpReply | NoReply] = [
            answer(201, f'{{"client_id":"c{number}"}}') for number in range(1, 6)
        ]
        self.metadata = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "registration_endpoint": f"{ISSUER}/register",
            "revocation_endpoint": f"{ISSUER}/revoke",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["read", "offline_access"],
            "authorization_response_iss_parameter_supported": True,
        }
        self.network = Network(
            {
                f"GET {META}": answer(
                    200,
                    json.dumps(
                        {
                            "resource": SERVER,
                            "authorization_servers": [ISSUER],
                            "scopes_supported": ["read"],
                        }
                    ),
                ),
                f"GET {AUTH}": answer(200, json.dumps(self.metadata)),
                f"POST {ISSUER}/register": registrations,
                f"POST {ISSUER}/token": answer(200, TOKENS),
            }
        )
        self.store = MemoryStore()
        self.clock = FixedClock()
        numbers = count(1)
        self.conversation = Conversation(
            self.network,
            self.store,
            self.clock,
            token_urlsafe=lambda size: f"random-{next(numbers)}-of-{size}",
        )

    async def prepare(
        self, config: OAuthConfig | None = None, *, challenge: str = CHALLENGE
    ) -> PendingLogin:
        upstream = replace(UPSTREAM, oauth=config)
        return await self.conversation.prepare(upstream, REDIRECT, challenge=challenge)

    def comes_back(self, login: PendingLogin, query: str = "code=the-code") -> str:
        state = login.state.reveal()
        return self.conversation.read_redirect(
            login, f"{REDIRECT}?{query}&state={state}&iss={ISSUER}"
        )

    def registrations(self) -> int:
        return self.network.log.count(f"POST {ISSUER}/register")


async def test_a_login_for_more_scope_keeps_what_the_one_before_had() -> None:
    world = World()
    narrow = replace(GRANT, scope="read mine", tokens=replace(GRANT.tokens, scope="read"))
    await world.store.replace_grant(narrow)
    wider = f'{CHALLENGE}, error="insufficient_scope", scope="write"'
    login = await world.prepare(OAuthConfig(scopes=("mine",)), challenge=wider)
    assert login.scope == "read mine write offline_access"


@pytest.mark.parametrize(
    ("issuer", "error"),
    [(ISSUER, "invalid_token"), ("https://other.example", "insufficient_scope")],
)
async def test_a_login_for_another_reason_or_elsewhere_asks_for_no_scope_of_the_one_before(
    issuer: str, error: str
) -> None:
    world = World()
    await world.store.replace_grant(replace(GRANT, issuer=issuer, scope="old"))
    login = await world.prepare(challenge=f'{CHALLENGE}, error="{error}", scope="write"')
    assert login.scope == "write offline_access"


async def test_a_login_ends_in_a_grant_with_all_that_a_refresh_needs() -> None:
    world = World()
    login = await world.prepare()
    sent = dict(parse_qsl(urlsplit(login.authorization_url).query))
    assert sent["client_id"] == "c1"
    assert sent["state"] == login.state.reveal()
    assert sent["scope"] == "read offline_access"
    assert sent["resource"] == SERVER
    assert login.expires_at == NOW + timedelta(minutes=10)
    assert login.iss_required

    packed = await world.conversation.present_code(login, world.comes_back(login))
    grant = world.conversation.read_code_answer(login, packed, NOW)
    assert grant.server == "example"
    assert grant.server_url == SERVER
    assert grant.issuer == ISSUER
    assert grant.token_endpoint == f"{ISSUER}/token"
    assert grant.revocation_endpoint == f"{ISSUER}/revoke"
    assert grant.client.client_id == "c1"
    assert grant.resource == SERVER
    assert grant.scope == "read offline_access"
    assert grant.tokens.access_token == Secret("a1")
    assert grant.tokens.refresh_token == Secret("r1")
    assert grant.tokens.expires_at == NOW + timedelta(minutes=10)
    assert grant.login_id == login.flow_id
    assert (grant.generation, grant.revision) == (1, 0)


async def test_the_code_is_sent_with_the_verifier_and_the_resource() -> None:
    world = World()
    login = await world.prepare()
    await world.conversation.present_code(login, "the-code")
    request = world.network.requests[-1]
    assert request.url == f"{ISSUER}/token"
    assert request.on_behalf_of == SERVER
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["authorization_code"],
        "code": ["the-code"],
        "redirect_uri": [REDIRECT],
        "code_verifier": [login.code_verifier.reveal()],
        "client_id": ["c1"],
        "resource": [SERVER],
    }


async def test_logins_share_a_registration_but_no_secrets() -> None:
    world = World()
    one, two = await world.prepare(), await world.prepare()
    assert one.client == two.client
    assert world.registrations() == 1
    assert len({one.state, two.state}) == len({one.flow_id, two.flow_id}) == 2
    assert one.code_verifier != two.code_verifier


async def test_a_registration_outlives_the_program() -> None:
    world = World()
    await world.prepare()
    world.conversation = Conversation(world.network, world.store, world.clock)
    assert (await world.prepare()).client.client_id == "c1"
    assert world.registrations() == 1


async def test_a_registration_belongs_to_its_redirect_uri() -> None:
    world = World()
    await world.prepare()
    other = await world.conversation.prepare(UPSTREAM, "http://127.0.0.1:9/cb", challenge=CHALLENGE)
    assert other.client.client_id == "c2"


async def test_a_configured_client_is_neither_registered_nor_stored() -> None:
    world = World()
    config = OAuthConfig(
        client_id="mine",
        client_secret=Secret("s"),
        scopes=("mine",),
        extra_params={"resource": "urn:other", "audience": "x"},
    )
    login = await world.prepare(config)
    assert login.client.source is RegistrationSource.CONFIGURED
    assert login.scope == "mine offline_access"
    assert login.resource == "urn:other"
    assert world.registrations() == 0
    assert await world.store.load_registration(ISSUER, REDIRECT) is None
    sent = dict(parse_qsl(urlsplit(login.authorization_url).query))
    assert (sent["resource"], sent["audience"]) == ("urn:other", "x")


# --- registrations that died ----------------------------------------------------------------


async def test_a_client_refused_with_the_code_is_made_anew_at_the_next_login() -> None:
    world = World()
    login = await world.prepare()
    world.network.replies[f"POST {ISSUER}/token"] = answer(401, '{"error":"invalid_client"}')
    packed = await world.conversation.present_code(login, "code")
    with pytest.raises(LoginError, match="no longer knows our client"):
        world.conversation.read_code_answer(login, packed, NOW)
    assert (await world.prepare()).client.client_id == "c2"
    assert (await world.prepare()).client.client_id == "c2"


async def test_a_client_refused_by_a_redirect_is_made_anew_at_the_next_login() -> None:
    world = World()
    login = await world.prepare()
    with pytest.raises(LoginError, match="unauthorized_client"):
        world.comes_back(login, "error=unauthorized_client")
    assert (await world.prepare()).client.client_id == "c2"


async def test_a_client_whose_login_never_came_back_is_made_anew_later() -> None:
    world = World()
    await world.prepare()
    world.clock.time += timedelta(minutes=1)
    assert (await world.prepare()).client.client_id == "c1"
    world.clock.time += timedelta(minutes=2)
    assert (await world.prepare()).client.client_id == "c2"


async def test_a_client_whose_login_came_back_is_kept() -> None:
    world = World()
    world.comes_back(await world.prepare())
    world.clock.time += timedelta(days=30)
    assert (await world.prepare()).client.client_id == "c1"


async def test_a_client_whose_secret_ended_is_made_anew() -> None:
    world = World()
    login = await world.prepare()
    world.comes_back(login)
    await world.store.save_registration(
        replace(login.client, client_secret=Secret("s"), secret_expires_at=NOW)
    )
    assert (await world.prepare()).client.client_id == "c2"


# --- logins that fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "because"),
    [
        (answer(400, '{"error":"invalid_grant","error_description":"too late"}'), "too late"),
        (answer(503), "HTTP 503"),
        (answer(200, "<html>"), "web page"),
        (answer(200, '{"access_token":', complete=False), "unusable"),
        (answer(200, '{"ok":false,"error":"invalid_code"}'), "invalid_code"),
    ],
)
async def test_a_code_that_brings_no_tokens_says_why(reply: HttpReply, because: str) -> None:
    world = World()
    login = await world.prepare()
    world.network.replies[f"POST {ISSUER}/token"] = reply
    packed = await world.conversation.present_code(login, "code")
    with pytest.raises(LoginError, match=because) as caught:
        world.conversation.read_code_answer(login, packed, NOW)
    assert not isinstance(caught.value, LoginDenied)
    assert caught.value.next_step


async def test_a_no_to_the_code_is_a_denial() -> None:
    world = World()
    login = await world.prepare()
    world.network.replies[f"POST {ISSUER}/token"] = answer(403, '{"error":"access_denied"}')
    packed = await world.conversation.present_code(login, "code")
    with pytest.raises(LoginDenied):
        world.conversation.read_code_answer(login, packed, NOW)


async def test_a_provider_that_does_not_answer_the_code_is_named() -> None:
    world = World()
    login = await world.prepare()
    world.network.replies[f"POST {ISSUER}/token"] = nothing("timeout")
    with pytest.raises(LoginError, match="timeout"):
        await world.conversation.present_code(login, "code")


async def test_a_stored_answer_that_cannot_be_read_is_a_failed_login() -> None:
    world = World()
    login = await world.prepare()
    with pytest.raises(LoginError, match="cannot be read"):
        world.conversation.read_code_answer(login, Secret("nonsense"), NOW)


async def test_a_provider_that_says_too_much_does_not_have_it_repeated() -> None:
    world = World()
    login = await world.prepare()
    verifier = login.code_verifier.reveal()
    body = json.dumps({"error": "invalid_grant", "error_description": f"bad {verifier}"})
    world.network.replies[f"POST {ISSUER}/token"] = answer(400, body)
    packed = await world.conversation.present_code(login, "code")
    with pytest.raises(LoginError) as caught:
        world.conversation.read_code_answer(login, packed, NOW)
    assert verifier not in caught.value.message


async def test_a_local_command_has_no_login() -> None:
    with pytest.raises(DiscoveryFailed):
        await World().conversation.prepare(Upstream("tool", command="tool"), REDIRECT)
