"""Client credentials and clients that sign, at a scripted provider: what is asked, what is read."""

import json
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from mcpproxy.core.errors import DiscoveryFailed, LoginError
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.lifecycle import RefreshNow, plan
from mcpproxy.core.model import (
    AuthMethod,
    FailureKind,
    Grant,
    GrantType,
    OAuthConfig,
    RefreshFailure,
    RegistrationSource,
    Secret,
    Variant,
)
from mcpproxy.core.provider_ports import Issued, OtherVariant, RefreshOutcome
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from tests.oauth.made import GRANT, ISSUER, NOW, SERVER, FixedClock, Network, answer
from tests.oauth.test_conversation import AUTH, CHALLENGE, UPSTREAM, World
from tests.peers import machine

pytestmark = pytest.mark.anyio

WITH_SECRET = OAuthConfig(
    client_id="machine",
    client_secret=Secret("s3cret"),
    grant_type=GrantType.CLIENT_CREDENTIALS,
)
KEY = machine.pem(machine.ec_key())
WITH_KEY = replace(WITH_SECRET, client_secret=None, private_key=Secret(KEY))


def a_world(**metadata: object) -> World:
    """A provider for machines: no page to log in at, no PKCE."""
    world = World()
    known = {
        name: value
        for name, value in (world.metadata | metadata).items()
        if name not in ("authorization_endpoint", "code_challenge_methods_supported")
    }
    world.network.replies[f"GET {AUTH}"] = answer(200, json.dumps(known))
    return world


async def seeded(world: World, config: OAuthConfig | None = WITH_SECRET) -> Grant:
    return await world.conversation.seed(replace(UPSTREAM, oauth=config), challenge=CHALLENGE)


async def presented(grant: Grant, reply: HttpReply | NoReply) -> tuple[Network, RefreshOutcome]:
    network = Network({f"POST {grant.token_endpoint}": reply})
    endpoint = TokenEndpoint(network, FixedClock())

    async def ready() -> None:
        """The intent is none of this test's business."""

    said = await endpoint.present(grant, before_send=ready)
    return network, said if isinstance(said, RefreshFailure) else endpoint.read(grant, said, NOW)


async def test_a_grant_is_made_of_discovery_alone_and_due_at_once() -> None:
    world = a_world()
    grant = await seeded(world)
    assert grant.grant_type is GrantType.CLIENT_CREDENTIALS
    assert grant.tokens.access_token == Secret("")
    assert grant.tokens.refresh_token is None
    assert (grant.scope, grant.resource) == ("read", SERVER)
    assert grant.client.source is RegistrationSource.CONFIGURED
    assert grant.token_endpoint == f"{ISSUER}/token"
    assert isinstance(plan(grant, NOW), RefreshNow)
    assert not [r for r in world.network.requests if r.method == "POST"], "nothing but looking up"


async def test_configured_scopes_and_resource_count_for_more_than_the_found_ones() -> None:
    config = replace(WITH_SECRET, scopes=("one", "two"), extra_params={"resource": "urn:other"})
    grant = await seeded(a_world(), config)
    assert (grant.scope, grant.resource) == ("one two", "urn:other")


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/"])
async def test_credentials_for_one_provider_go_there(issuer: str) -> None:
    assert (await seeded(a_world(), replace(WITH_SECRET, issuer=issuer))).issuer == ISSUER


async def test_credentials_for_one_provider_go_nowhere_else() -> None:
    with pytest.raises(DiscoveryFailed, match=r"not https://theirs\.example"):
        await seeded(a_world(), replace(WITH_SECRET, issuer="https://theirs.example"))


@pytest.mark.parametrize("config", [None, OAuthConfig(client_id="public"), OAuthConfig()])
async def test_without_credentials_it_says_what_to_configure(config: OAuthConfig | None) -> None:
    with pytest.raises(LoginError, match="no client credentials") as caught:
        await seeded(a_world(), config)
    assert "oauth.client_id" in caught.value.next_step


async def test_a_key_that_cannot_sign_is_found_before_anything_is_stored() -> None:
    with pytest.raises(LoginError, match="cannot prove itself"):
        await seeded(a_world(), replace(WITH_KEY, signing_alg="RS256"))


async def test_the_token_is_asked_for_in_the_clients_own_name() -> None:
    grant = await seeded(a_world(token_endpoint_auth_methods_supported=["client_secret_post"]))
    network, outcome = await presented(
        grant, answer(200, '{"access_token":"a","refresh_token":"surplus","expires_in":60}')
    )
    assert parse_qs(network.requests[0].body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["machine"],
        "client_secret": ["s3cret"],
        "scope": ["read"],
        "resource": [SERVER],
    }
    assert isinstance(outcome, Issued)
    assert outcome.tokens.refresh_token is None, "a refresh token has no use here"


async def test_a_provider_that_does_not_want_the_resource_is_learned() -> None:
    grant = await seeded(a_world())
    _, outcome = await presented(grant, answer(400, '{"error":"invalid_target"}'))
    assert outcome == OtherVariant(Variant.NO_RESOURCE)
    network, _ = await presented(
        replace(grant, variant=Variant.NO_RESOURCE), answer(200, '{"access_token":"a"}')
    )
    assert b"resource" not in network.requests[0].body


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client"])
async def test_a_refusal_of_the_credentials_is_a_refusal(code: str) -> None:
    _, outcome = await presented(await seeded(a_world()), answer(401, f'{{"error":"{code}"}}'))
    assert isinstance(outcome, RefreshFailure)
    assert (outcome.kind, outcome.code) == (FailureKind.REFUSED, code)


async def test_a_client_with_a_key_signs_each_request_and_sends_no_secret() -> None:
    grant = await seeded(a_world(), WITH_KEY)
    assert grant.client.auth_method is AuthMethod.PRIVATE_KEY_JWT
    proofs = []
    for _ in range(2):
        network, _ = await presented(grant, answer(503))
        sent = parse_qs(network.requests[0].body.decode())
        assert "client_secret" not in sent
        assert "authorization" not in network.requests[0].headers
        proofs += sent["client_assertion"]
    assert len(set(proofs)) == 2


async def test_a_refresh_token_is_presented_with_a_signature_too() -> None:
    client = (await seeded(a_world(), WITH_KEY)).client
    network, _ = await presented(replace(GRANT, client=client), answer(503))
    sent = parse_qs(network.requests[0].body.decode())
    assert sent["grant_type"] == ["refresh_token"]
    assert sent["client_assertion"]


async def test_a_key_that_went_bad_spends_nothing() -> None:
    client = (await seeded(a_world(), WITH_KEY)).client
    broken = replace(GRANT, client=replace(client, private_key=Secret("no key")))
    network, outcome = await presented(broken, answer(200))
    assert isinstance(outcome, RefreshFailure)
    assert outcome.kind is FailureKind.NOT_SENT
    assert "cannot be signed" in outcome.detail
    assert network.requests == []


@pytest.mark.parametrize("method", [*AuthMethod])
async def test_tokens_are_given_back_with_every_kind_of_proof(method: AuthMethod) -> None:
    client = replace(
        GRANT.client, auth_method=method, client_secret=Secret("s"), private_key=Secret(KEY)
    )
    network = Network({f"POST {ISSUER}/revoke": answer(200)})
    assert await TokenEndpoint(network, FixedClock()).revoke(replace(GRANT, client=client)) is None
    one, two = (parse_qs(request.body.decode()) for request in network.requests)
    assert (one["token_type_hint"], two["token_type_hint"]) == (["refresh_token"], ["access_token"])
    assert ("client_assertion" in one) is (method is AuthMethod.PRIVATE_KEY_JWT)
    assert one.get("client_assertion", "a") != two.get("client_assertion", "b")
    assert {request.on_behalf_of for request in network.requests} == {SERVER}


async def test_a_token_that_never_was_is_not_given_back() -> None:
    grant = await seeded(a_world())
    network = Network({f"POST {ISSUER}/revoke": answer(200)})
    assert await TokenEndpoint(network, FixedClock()).revoke(grant) is None
    assert network.requests == []
