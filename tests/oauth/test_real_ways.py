"""The other ways to a token, and mending, against other people's servers over real HTTP."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mcpproxy.clock import SystemClock
from mcpproxy.core.errors import LoginDenied
from mcpproxy.core.model import (
    AssertionAudience,
    AuthMethod,
    FailureKind,
    Grant,
    GrantType,
    OAuthConfig,
    RefreshFailure,
    Refusals,
    Secret,
    Upstream,
)
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.provider_ports import DeviceWait, Issued
from mcpproxy.oauth.client import OAuthHttpSender
from mcpproxy.oauth.conversation import Conversation
from mcpproxy.oauth.registration import DEVICE_GRANT
from mcpproxy.oauth.repair import Repairs
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.storage.memory import MemoryStore
from tests.oauth.made import FixedClock
from tests.oauth.test_real_providers import log_in, refresh
from tests.peers import machine
from tests.peers.django_oauth_toolkit import DjangoProvider
from tests.peers.forms import FormReader, log_in_by_forms
from tests.peers.oidc_provider import OidcProvider
from tests.peers.process import http
from tests.peers.protected_mcp_server import ProtectedMcpServer

pytestmark = pytest.mark.anyio

EC, RSA, ED = machine.ec_key(), machine.rsa_key(), machine.ed_key()
REDIRECT = "http://127.0.0.1:4711/callback"
CODE_GRANTS = {
    "grant_types": ["authorization_code", "refresh_token"],
    "redirect_uris": [REDIRECT],
    "response_types": ["code"],
    "application_type": "native",
}
KEYS = {
    "ES256": machine.pem(EC),
    "RS256": machine.pem(RSA),
    "PS256": machine.pem(RSA),
    "EdDSA": machine.pem(ED),
}


class World:
    """oidc-provider with clients of every kind, a server behind it, and the room under test."""

    def __init__(self, provider: OidcProvider, server: ProtectedMcpServer) -> None:
        self.provider = provider
        self.server = server
        self.sender, self.clock = OAuthHttpSender(), WallClock()
        self.store = MemoryStore()
        self.conversation = Conversation(self.sender, self.store, self.clock)
        self.endpoint = TokenEndpoint(self.sender, self.clock)
        self.repairs = Repairs(self.sender, self.store, self.clock)

    def upstream(self, config: OAuthConfig | None = None) -> Upstream:
        return Upstream("example", url=self.server.url, oauth=config)


class WallClock(FixedClock):
    """Signatures are checked against the time of day."""

    def __init__(self) -> None:
        super().__init__(SystemClock().now())


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[OidcProvider, ProtectedMcpServer]]:
    where = tmp_path_factory.mktemp("ways")
    clients = [
        machine.secret_client("by-basic"),
        machine.secret_client("by-post", token_endpoint_auth_method="client_secret_post"),
        machine.key_client(EC, "ES256", "es256"),
        machine.key_client(RSA, "RS256", "rs256"),
        machine.key_client(RSA, "PS256", "ps256"),
        machine.key_client(ED, "EdDSA", "eddsa"),
        machine.key_client(EC, "ES256", "person", **CODE_GRANTS),
    ]
    with (
        OidcProvider(where, clients=clients) as provider,
        ProtectedMcpServer(where, provider) as server,
    ):
        yield provider, server


@pytest.fixture
def world(running: tuple[OidcProvider, ProtectedMcpServer]) -> World:
    return World(*running)


async def accepted(server: ProtectedMcpServer, token: Secret) -> bool:
    """Whether the MCP server takes this token."""
    headers = {
        "authorization": f"Bearer {token.reveal()}",
        "accept": "application/json, text/event-stream",
    }
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with http(10.0) as client:
        reply = await asyncio.to_thread(client.post, server.url, json=hello, headers=headers)
    return reply.status_code != 401


# --- client credentials -----------------------------------------------------------------------


async def first_token(world: World, config: OAuthConfig, method: AuthMethod | None = None) -> Grant:
    """`method` is what the provider was told of this client; its metadata offers several."""
    seeded = await world.conversation.seed(world.upstream(config))
    if method is not None:
        seeded = replace(seeded, client=replace(seeded.client, auth_method=method))
    outcome = await refresh(world.endpoint, seeded, world.clock)
    assert isinstance(outcome, Issued), outcome
    return replace(seeded, tokens=outcome.tokens)


@pytest.mark.parametrize(
    ("client_id", "method"),
    [("by-basic", AuthMethod.SECRET_BASIC), ("by-post", AuthMethod.SECRET_POST)],
)
async def test_a_client_with_a_secret_gets_tokens_in_its_own_name(
    world: World, client_id: str, method: AuthMethod
) -> None:
    config = OAuthConfig(
        client_id=client_id,
        client_secret=Secret(machine.SECRET),
        scopes=("mcp",),
        grant_type=GrantType.CLIENT_CREDENTIALS,
    )
    grant = await first_token(world, config, method)
    assert grant.tokens.refresh_token is None
    assert await accepted(world.server, grant.tokens.access_token)
    again = await refresh(world.endpoint, grant, world.clock)
    assert isinstance(again, Issued)
    assert again.tokens.access_token != grant.tokens.access_token
    assert await world.endpoint.revoke(grant) is None
    assert not await accepted(world.server, grant.tokens.access_token)


@pytest.mark.parametrize("audience", AssertionAudience)
@pytest.mark.parametrize("alg", KEYS)
async def test_a_client_with_a_key_signs_for_its_tokens_and_for_giving_them_back(
    world: World, alg: str, audience: AssertionAudience
) -> None:
    config = OAuthConfig(
        client_id=alg.lower(),
        private_key=Secret(KEYS[alg]),
        key_id=f"{alg.lower()}-key",
        signing_alg="PS256" if alg == "PS256" else None,
        scopes=("mcp",),
        grant_type=GrantType.CLIENT_CREDENTIALS,
        assertion_audience=audience,
    )
    grant = await first_token(world, config)
    assert await accepted(world.server, grant.tokens.access_token)
    assert await world.endpoint.revoke(grant) is None
    assert not await accepted(world.server, grant.tokens.access_token)


async def test_a_wrong_key_is_the_providers_refusal_of_the_client(world: World) -> None:
    config = OAuthConfig(
        client_id="es256",
        private_key=Secret(machine.pem(machine.ec_key())),
        grant_type=GrantType.CLIENT_CREDENTIALS,
    )
    seeded = await world.conversation.seed(world.upstream(config))
    refused = await refresh(world.endpoint, seeded, world.clock)
    assert isinstance(refused, RefreshFailure)
    assert refused.code == "invalid_client"


async def test_a_person_logs_in_with_a_client_that_signs(world: World) -> None:
    config = OAuthConfig(
        client_id="person", private_key=Secret(machine.pem(EC)), redirect_uri=REDIRECT
    )
    login = await world.conversation.prepare(world.upstream(config), REDIRECT)
    landing = await asyncio.to_thread(
        log_in_by_forms, login.authorization_url, unreachable="/callback"
    )
    code = world.conversation.read_redirect(login, landing.url)
    answer = await world.conversation.present_code(login, code)
    grant = world.conversation.read_code_answer(login, answer, world.clock.now())
    for _ in range(2):
        outcome = await refresh(world.endpoint, grant, world.clock)
        assert isinstance(outcome, Issued), outcome
        grant = replace(grant, tokens=outcome.tokens)


async def test_another_providers_client_credentials_do_as_well(tmp_path: Path) -> None:
    with DjangoProvider(tmp_path) as provider, ProtectedMcpServer(tmp_path, provider) as server:
        sender, clock = OAuthHttpSender(), FixedClock()
        client_id, secret = provider.resource_server
        config = OAuthConfig(
            client_id=client_id,
            client_secret=Secret(secret),
            scopes=("mcp",),
            grant_type=GrantType.CLIENT_CREDENTIALS,
        )
        upstream = Upstream("example", url=server.url, oauth=config)
        seeded = await Conversation(sender, MemoryStore(), clock).seed(upstream)
        outcome = await refresh(TokenEndpoint(sender, clock), seeded, clock)
        assert isinstance(outcome, Issued), outcome
        assert outcome.tokens.refresh_token is None


# --- at another device ------------------------------------------------------------------------


async def answered(world: World, login: PendingLogin) -> Secret:
    while True:
        said = await world.conversation.poll_device(login)
        if isinstance(said, Secret):
            return said


async def test_a_person_at_another_device_is_waited_for_and_logged_in(world: World) -> None:
    login = await world.conversation.prepare_device(world.upstream(), REDIRECT)
    assert login.device is not None
    assert login.device.verification_uri == f"{world.provider.issuer}/device"
    assert DEVICE_GRANT in login.client.grant_types
    assert isinstance(await world.conversation.poll_device(login), DeviceWait)

    await asyncio.to_thread(log_in_by_forms, login.authorization_url)
    answer = await answered(world, login)
    grant = world.conversation.read_code_answer(login, answer, world.clock.now())
    assert grant.grant_type is GrantType.DEVICE_CODE
    assert await accepted(world.server, grant.tokens.access_token)
    outcome = await refresh(world.endpoint, grant, world.clock)
    assert isinstance(outcome, Issued), outcome
    assert outcome.tokens.refresh_token not in (None, grant.tokens.refresh_token)


async def test_a_registration_of_the_browser_way_is_made_anew_for_devices_and_then_does_both(
    world: World,
) -> None:
    in_browser = await log_in(world.conversation, world.upstream(), world.clock)
    redirect_uri = in_browser.client.redirect_uri
    login = await world.conversation.prepare_device(world.upstream(), redirect_uri)
    assert login.client.client_id != in_browser.client.client_id
    again = await world.conversation.prepare(world.upstream(), redirect_uri)
    assert again.client == login.client
    outcome = await refresh(world.endpoint, in_browser, world.clock)
    assert isinstance(outcome, Issued), "the login before keeps its client"


def say_no(page_url: str) -> None:
    """Open the page with the code in its address, and press the other button."""
    with http(10.0, follow_redirects=True) as client:
        shown = client.get(page_url)
        for extra in ({}, {"abort": "yes"}):  # the first form sends itself on by script
            page = FormReader()
            page.feed(shown.text)
            assert page.form is not None
            shown = client.post(page.form.action, data={**page.form.fields, **extra})
        assert shown.status_code < 500


async def test_a_person_at_another_device_who_says_no_is_understood(world: World) -> None:
    login = await world.conversation.prepare_device(world.upstream(), REDIRECT)
    await asyncio.to_thread(say_no, login.authorization_url)
    answer = await answered(world, login)
    with pytest.raises(LoginDenied):
        world.conversation.read_code_answer(login, answer, world.clock.now())


# --- mending ----------------------------------------------------------------------------------


def refused(grant: Grant, code: str = "invalid_client") -> Grant:
    now = grant.tokens.issued_at
    failure = RefreshFailure(FailureKind.REFUSED, code, code=code, status=401)
    return replace(grant, refusals=Refusals(1, now, now, failure))


async def test_a_client_that_the_provider_still_knows_is_not_made_anew(world: World) -> None:
    grant = await log_in(world.conversation, world.upstream(), world.clock)
    assert grant.client.registration_uri is not None
    seen = len(world.provider.requests())
    assert await world.repairs.renew_client(refused(grant)) is None
    assert [r for r in world.provider.requests()[seen:] if r.path == "/reg"] == []


async def test_a_client_that_the_provider_forgot_is_registered_again(world: World) -> None:
    grant = await log_in(world.conversation, world.upstream(), world.clock)
    world.provider.forget_client(grant.client.client_id)
    renewed = await world.repairs.renew_client(refused(grant))
    assert renewed is not None
    assert renewed.client_id != grant.client.client_id
    assert renewed.redirect_uri == grant.client.redirect_uri
    stored = await world.store.load_registration(renewed.issuer, renewed.redirect_uri)
    assert stored == renewed


async def test_a_moved_endpoint_is_found_at_its_issuer(world: World) -> None:
    grant = await log_in(world.conversation, world.upstream(), world.clock)
    assert await world.repairs.locate(grant) is None, "it is where it was"
    lost = replace(grant, token_endpoint=f"{world.provider.issuer}/old/token")
    found = await world.repairs.locate(lost)
    assert found is not None
    assert found.token_endpoint == grant.token_endpoint
    outcome = await refresh(
        world.endpoint, replace(lost, token_endpoint=found.token_endpoint), world.clock
    )
    assert isinstance(outcome, Issued), outcome
    assert outcome.tokens.expires_at is not None
    assert outcome.tokens.expires_at - outcome.tokens.issued_at <= timedelta(hours=1)
