"""Providers that forget our client, move their endpoints, change hands, or want another form."""

import base64
import json
from dataclasses import replace
from urllib.parse import unquote_plus, urlsplit

import pytest

from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import AuthMethod, ClientRegistration, Secret
from tests.builders import ISSUER, a_client
from tests.custody.bench import HOUR, NAME, virtually
from tests.field.provider import JSON, Answer, Reply, Visit, honest, instead
from tests.field.scene import DAY, MINUTE, Scene

METADATA = f"GET {ISSUER}/.well-known/oauth-authorization-server"
REGISTER = f"POST {ISSUER}/register"
ELSEWHERE = "https://auth.elsewhere.example"


def metadata(issuer: str = ISSUER, token_endpoint: str = f"{ISSUER}/v2/token/{NAME}") -> HttpReply:
    document = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": token_endpoint,
        "registration_endpoint": f"{ISSUER}/register",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
    }
    return HttpReply(200, JSON, json.dumps(document).encode())


def moved(answer_at_the_old: Answer) -> Answer:
    """Who comes to the old address is answered so; at the new one all is well."""

    async def manner(visit: Visit) -> Reply:
        is_old = urlsplit(visit.request.url).path.startswith("/token/")
        return await (answer_at_the_old if is_old else honest)(visit)

    return manner


def for_client(client_id: str, otherwise: Answer) -> Answer:
    """Only this client is known."""

    async def manner(visit: Visit) -> Reply:
        return await (honest if visit.form.get("client_id") == client_id else otherwise)(visit)

    return manner


UNKNOWN_CLIENT = instead(401, {"error": "invalid_client", "error_description": "Unknown client"})
NOT_YOURS = instead(400, {"error": "invalid_grant", "error_description": "issued to another"})


def requests_to(scene: Scene, host: str) -> list[str]:
    return [r.url for r in scene.provider.requests if urlsplit(r.url).hostname == host]


# --- endpoints ------------------------------------------------------------------------------

GONE = {
    "404": instead(404, b"not here"),
    "405": instead(405),
    "410": instead(410),
    "301": instead(301, b"", {"location": f"{ISSUER}/v2/token"}),
    "308": instead(308, b"", {"location": f"{ISSUER}/v2/token"}),
}


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
@virtually
async def test_a_token_endpoint_that_moved_is_looked_up_at_its_issuer(gone: Answer) -> None:
    async with Scene() as scene:
        scene.log_in()
        scene.provider.manner = moved(gone)
        scene.provider.pages[METADATA] = metadata()
        await scene.start()
        scene.call_every(5 * MINUTE)
        await scene.pass_time(4 * HOUR)
        assert scene.grant().token_endpoint == f"{ISSUER}/v2/token/{NAME}"
        assert scene.calls.served == scene.calls.total
        scene.require_good(presented=5)  # one of them at the old address


@virtually
async def test_a_redirect_is_never_followed_with_the_refresh_token() -> None:
    """Nor is whatever calls itself by another issuer's name believed."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.manner = moved(instead(307, b"", {"location": f"{ELSEWHERE}/token"}))
        scene.provider.pages[METADATA] = metadata(ELSEWHERE, f"{ELSEWHERE}/token")
        await scene.start()
        await scene.pass_time(4 * HOUR)
        assert requests_to(scene, "auth.elsewhere.example") == []
        assert scene.grant().token_endpoint == f"{ISSUER}/token/{NAME}"
        assert scene.health().action != "login"
        scene.provider.manner = honest
        await scene.pass_time(10 * MINUTE)
        scene.require_good()


@virtually
async def test_metadata_that_names_another_hosts_token_endpoint_gets_no_token_of_ours() -> None:
    """A changed issuer is another provider: our login there does not exist."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.manner = moved(instead(404))
        scene.provider.pages[METADATA] = metadata(ELSEWHERE)
        await scene.start()
        await scene.pass_time(6 * HOUR)
        assert {urlsplit(visit.request.url).hostname for visit in scene.provider.visits} == {
            urlsplit(ISSUER).hostname
        }
        assert scene.grant().issuer == ISSUER
        assert scene.presented() <= 6 * 12 + 6


@virtually
async def test_a_refresh_needs_neither_metadata_nor_the_server() -> None:
    """All of discovery is down: the record keeps what a refresh needs, restarts included."""
    async with Scene() as scene:
        scene.log_in()
        for _ in range(4):
            await scene.start()
            await scene.pass_time(HOUR)
            await scene.stop()
        await scene.start()
        assert await scene.call()
        assert {r.url for r in scene.provider.requests} == {f"{ISSUER}/token/{NAME}"}
        scene.require_good()


# --- clients --------------------------------------------------------------------------------


@virtually
async def test_a_client_that_was_pruned_is_registered_anew_and_the_login_lives_on() -> None:
    """As far as the provider lets a new client of ours present the old refresh token."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.manner = for_client("client-2", UNKNOWN_CLIENT)
        scene.provider.pages[METADATA] = metadata(token_endpoint=f"{ISSUER}/token/{NAME}")
        scene.provider.pages[REGISTER] = HttpReply(201, JSON, b'{"client_id": "client-2"}')
        await scene.start()
        scene.call_every(MINUTE)
        await scene.pass_time(6 * HOUR)
        assert scene.grant().client.client_id == "client-2"
        assert len([r for r in scene.provider.requests if r.url.endswith("/register")]) == 1
        assert scene.calls.served == scene.calls.total
        scene.require_good()


@virtually
async def test_a_login_that_belonged_to_a_pruned_client_is_told_as_ended() -> None:
    """The new client is told that the refresh token is another's: so the login is over."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.truth.end(NAME, scene.provider.now())

        async def manner(visit: Visit) -> Reply:
            ours = visit.form.get("client_id") == "client-2"
            return await (NOT_YOURS if ours else UNKNOWN_CLIENT)(visit)

        scene.provider.manner = manner
        scene.provider.pages[METADATA] = metadata(token_endpoint=f"{ISSUER}/token/{NAME}")
        scene.provider.pages[REGISTER] = HttpReply(201, JSON, b'{"client_id": "client-2"}')
        await scene.start()
        await scene.pass_time(2 * HOUR)
        # The client's refusal, its confirmation, the probe, and what is said to the new client.
        scene.require_gone("invalid_grant", refusals=4)


@virtually
async def test_a_client_that_cannot_be_registered_anew_is_told_as_the_clients_end() -> None:
    async with Scene() as scene:
        scene.log_in()
        scene.provider.truth.end(NAME, scene.provider.now())
        scene.provider.manner = UNKNOWN_CLIENT
        await scene.start()
        await scene.pass_time(2 * HOUR)
        scene.require_gone("invalid_client", cause="client_ended", refusals=3, mending=10)


@virtually
async def test_one_invalid_client_that_is_not_meant_ends_neither_client_nor_login() -> None:
    """hermes: a passing invalid_client threw the client away and orphaned the refresh token."""
    async with Scene() as scene:
        scene.log_in()
        scene.provider.script.append(UNKNOWN_CLIENT)
        await scene.start()
        await scene.pass_time(HOUR)
        assert scene.grant().client.client_id == a_client().client_id
        scene.require_good(presented=2)


@virtually
async def test_a_dead_login_leaves_the_registration_alone() -> None:
    """They live separately: the next login needs no new client."""
    async with Scene() as scene:
        scene.log_in()
        registration = a_client()
        await scene.disk.save_registration(registration)
        scene.provider.truth.end(NAME, scene.provider.now())
        await scene.start()
        await scene.pass_time(3 * HOUR)
        scene.require_gone("invalid_grant")
        stored = await scene.disk.load_registration(ISSUER, registration.redirect_uri)
        assert stored == registration
        assert scene.stored.tokens.refresh_token is not None  # set aside, never deleted


# --- the form of a refresh ------------------------------------------------------------------


def only_without(name: str, refusal: Answer) -> Answer:
    async def manner(visit: Visit) -> Reply:
        return await (refusal if name in visit.form else honest)(visit)

    return manner


def only_with(name: str, value: str, refusal: Answer) -> Answer:
    async def manner(visit: Visit) -> Reply:
        return await (honest if visit.form.get(name) == value else refusal)(visit)

    return manner


UNWANTED_RESOURCE = {
    "invalid_target": instead(400, {"error": "invalid_target"}),
    "Entra": instead(
        400,
        {
            "error": "invalid_request",
            "error_description": "AADSTS9010010: The resource parameter does not match",
        },
    ),
    "a 400 that names the parameter": instead(
        400,
        {
            "error": "invalid_request",
            "error_description": "resource is not a supported parameter",
        },
    ),
}


@pytest.mark.parametrize("refusal", UNWANTED_RESOURCE.values(), ids=UNWANTED_RESOURCE)
@virtually
async def test_a_provider_that_wants_no_resource_on_a_refresh_is_learned_once(
    refusal: Answer,
) -> None:
    async with Scene() as scene:
        scene.log_in(resource="https://mcp.example.com/mcp")
        scene.provider.manner = only_without("resource", refusal)
        await scene.start()
        scene.call_every(5 * MINUTE)
        await scene.pass_time(DAY / 2)
        assert scene.calls.served == scene.calls.total
        assert [("resource" in visit.form) for visit in scene.provider.visits].count(True) == 1
        scene.require_good(presented=15)


@virtually
async def test_a_provider_that_demands_the_resource_gets_it_each_time() -> None:
    async with Scene() as scene:
        scene.log_in(resource="https://mcp.example.com/mcp")
        scene.provider.manner = only_with(
            "resource", "https://mcp.example.com/mcp", instead(400, {"error": "invalid_target"})
        )
        await scene.start()
        await scene.pass_time(DAY / 2)
        scene.require_good(presented=14)


@virtually
async def test_a_provider_that_demands_the_scope_gets_the_one_of_the_login() -> None:
    """And never a wider one than was granted."""
    async with Scene() as scene:
        scene.log_in(scope="read offline_access")
        scene.provider.manner = only_with(
            "scope",
            "read offline_access",
            instead(
                400,
                {"error": "invalid_scope", "error_description": "scope is required"},
            ),
        )
        await scene.start()
        scene.call_every(5 * MINUTE)
        await scene.pass_time(DAY / 2)
        assert scene.calls.served == scene.calls.total
        assert {v.form.get("scope") for v in scene.provider.visits} == {None, "read offline_access"}
        scene.require_good(presented=15)


SECRETIVE = replace(
    a_client(),
    client_id="id:with/odd chars",
    client_secret=Secret("s3cret&=%+ ü"),
    auth_method=AuthMethod.SECRET_BASIC,
)


def proves(client: ClientRegistration, visit: Visit) -> bool:
    """As RFC 6749 section 2.3.1 wants it: each part form-encoded, then Basic."""
    scheme, _, encoded = visit.request.headers.get("authorization", "").partition(" ")
    if scheme != "Basic" or "client_id" in visit.form:
        return False
    name, _, secret = base64.b64decode(encoded).decode().partition(":")
    assert client.client_secret is not None
    expected = client.client_id, client.client_secret.reveal()
    return (unquote_plus(name), unquote_plus(secret)) == expected


@virtually
async def test_a_secret_in_the_header_is_encoded_and_the_method_outlives_restarts() -> None:
    """Two client ids are refused by some, a secret that is not encoded by others."""
    async with Scene() as scene:
        scene.log_in(client=SECRETIVE)

        async def manner(visit: Visit) -> Reply:
            return await (honest if proves(SECRETIVE, visit) else UNKNOWN_CLIENT)(visit)

        scene.provider.manner = manner
        for _ in range(3):
            await scene.start()
            await scene.pass_time(2 * HOUR)
            await scene.stop()
        await scene.start()
        assert await scene.call()
        scene.require_good()
