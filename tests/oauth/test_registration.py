import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from mcpproxy.core.errors import RegistrationFailed
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import (
    AuthMethod,
    ClientRegistration,
    OAuthConfig,
    RegistrationSource,
    Secret,
)
from mcpproxy.oauth.discovery import ServerMetadata
from mcpproxy.oauth.registration import client_id_of, configured_client, is_usable, register
from mcpproxy.oauth.steps import drive
from tests.oauth.made import ISSUER, NOW, REDIRECT, SERVER, Network, answer, nothing

pytestmark = pytest.mark.anyio

BASIC, POST, NONE = AuthMethod.SECRET_BASIC, AuthMethod.SECRET_POST, AuthMethod.NONE


def server(*methods: str, silent: bool = False, documents: bool = False) -> ServerMetadata:
    return ServerMetadata(
        ISSUER,
        f"{ISSUER}/authorize",
        f"{ISSUER}/token",
        registration_endpoint=f"{ISSUER}/register",
        auth_methods=None if silent else methods,
        takes_metadata_documents=documents,
    )


async def registered(
    reply: HttpReply | list[HttpReply | NoReply] | NoReply,
    metadata: ServerMetadata,
    scope: str | None = "a",
) -> tuple[ClientRegistration, list[Mapping[str, object]]]:
    network = Network({f"POST {ISSUER}/register": reply})
    client = await drive(register(metadata, REDIRECT, scope, SERVER), network)
    return client, [json.loads(request.body) for request in network.requests]


def made(status: int = 201, **more: object) -> HttpReply:
    return answer(status, json.dumps({"client_id": "c1"} | more))


async def test_we_register_as_a_public_native_client_that_refreshes() -> None:
    client, (sent,) = await registered(made(), server("none", "client_secret_basic"))
    assert sent == {
        "client_name": "mcpproxy",
        "redirect_uris": [REDIRECT],
        "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "a",
    }
    assert client == ClientRegistration(ISSUER, "c1", RegistrationSource.DYNAMIC, REDIRECT)


@pytest.mark.parametrize("status", [200, 201])
async def test_both_answers_of_real_providers_are_taken(status: int) -> None:
    client, _ = await registered(made(status), server("none"))
    assert client.client_id == "c1"


@pytest.mark.parametrize(
    ("metadata", "asked"),
    [
        (server("none", "client_secret_post"), "none"),
        (server("client_secret_post", "client_secret_basic"), "client_secret_basic"),
        (server("client_secret_post", "private_key_jwt"), "client_secret_post"),
        (server(silent=True), "none"),
    ],
)
async def test_the_method_is_the_best_that_the_provider_supports(
    metadata: ServerMetadata, asked: str
) -> None:
    _, (sent,) = await registered(made(), metadata)
    assert sent["token_endpoint_auth_method"] == asked


@pytest.mark.parametrize(
    ("reply", "metadata", "method"),
    [
        (made(), server("none"), NONE),
        (made(client_secret="s"), server("client_secret_basic"), BASIC),
        (made(client_secret="s"), server("client_secret_post"), POST),
        (made(client_secret="s"), server(silent=True), BASIC),
        (
            made(client_secret="s", token_endpoint_auth_method="client_secret_post"),
            server(silent=True),
            POST,
        ),
        (made(client_secret="s", token_endpoint_auth_method="none"), server("none"), NONE),
        (made(client_secret="s", token_endpoint_auth_method="odd"), server(silent=True), BASIC),
        (made(token_endpoint_auth_method="client_secret_basic"), server(silent=True), NONE),
        (made(client_secret=""), server("none"), NONE),
    ],
)
async def test_the_agreed_method_is_what_the_provider_answers(
    reply: HttpReply, metadata: ServerMetadata, method: AuthMethod
) -> None:
    client, _ = await registered(reply, metadata)
    assert client.auth_method is method


@pytest.mark.parametrize(
    ("value", "expires_at"),
    [
        (0, None),
        (-1, None),
        ("soon", None),
        (True, None),
        (1e300, None),
        (1_800_000_000, datetime.fromtimestamp(1_800_000_000, UTC)),
    ],
)
async def test_a_secret_s_end_is_remembered(value: object, expires_at: datetime | None) -> None:
    reply = made(client_secret="s", client_secret_expires_at=value)
    client, _ = await registered(reply, server("client_secret_basic"))
    assert client.secret_expires_at == expires_at
    assert client.client_secret == Secret("s")


async def test_the_means_to_manage_a_registration_are_kept() -> None:
    reply = made(
        registration_client_uri=f"{ISSUER}/register/c1", registration_access_token="manage"
    )
    client, _ = await registered(reply, server("none"))
    assert client.registration_uri == f"{ISSUER}/register/c1"
    assert client.registration_token == Secret("manage")


async def test_a_management_url_that_may_not_be_used_is_left_out() -> None:
    client, _ = await registered(made(registration_client_uri="javascript:x"), server("none"))
    assert client.registration_uri is None


async def test_a_provider_that_dislikes_a_proposal_gets_the_next() -> None:
    no = answer(400, '{"error":"invalid_client_metadata"}')
    replies: list[HttpReply | NoReply] = [no, no, made()]
    client, sent = await registered(replies, server("none", "client_secret_post"))
    assert client.client_id == "c1"
    assert [one["token_endpoint_auth_method"] for one in sent] == [
        "none",
        "client_secret_post",
        "none",
    ]
    assert "scope" not in sent[2]


@pytest.mark.parametrize(
    ("reply", "because"),
    [
        (answer(400, '{"error":"invalid_redirect_uri"}'), "invalid_redirect_uri"),
        (answer(403, '{"error":"access_denied","error_description":"ask us"}'), "ask us"),
        (answer(404), "HTTP 404"),
        (answer(500, "<html>"), "HTTP 500"),
        (answer(201, "{}"), "HTTP 201"),
        (answer(201, '{"client_id":7}'), "HTTP 201"),
        (nothing("timeout"), "timeout"),
    ],
)
async def test_a_refused_registration_says_why_and_what_to_do(
    reply: HttpReply | NoReply, because: str
) -> None:
    with pytest.raises(RegistrationFailed, match=because) as caught:
        await registered(reply, server("none"))
    assert caught.value.next_step


async def test_a_provider_without_registration_or_with_unknown_methods_says_so() -> None:
    closed = ServerMetadata(ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token")
    with pytest.raises(RegistrationFailed, match="does not let clients register"):
        await registered(made(), closed)
    with pytest.raises(RegistrationFailed, match="private_key_jwt"):
        await registered(made(), server("private_key_jwt"))


# --- clients that a person configured -------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "metadata", "method"),
    [
        (None, server("client_secret_basic"), NONE),
        (Secret("s"), server("client_secret_basic"), BASIC),
        (Secret("s"), server("client_secret_post"), POST),
        (Secret("s"), server(silent=True), BASIC),
    ],
)
def test_a_configured_client_comes_first(
    secret: Secret | None, metadata: ServerMetadata, method: AuthMethod
) -> None:
    config = OAuthConfig("mine", secret, client_metadata_url="https://me.example/client.json")
    client = configured_client(config, metadata, REDIRECT)
    assert client is not None
    assert (client.client_id, client.auth_method) == ("mine", method)
    assert client.source is RegistrationSource.CONFIGURED
    assert client.client_secret == secret


def test_a_metadata_document_is_used_where_it_is_taken() -> None:
    config = OAuthConfig(client_metadata_url="https://me.example/client.json")
    client = configured_client(config, server("none", documents=True), REDIRECT)
    assert client is not None
    assert client.client_id == "https://me.example/client.json"
    assert client.source is RegistrationSource.METADATA_DOCUMENT
    assert configured_client(config, server("none"), REDIRECT) is None
    assert configured_client(OAuthConfig(), server("none", documents=True), REDIRECT) is None


def test_a_registration_is_usable_until_its_secret_ends() -> None:
    kept = ClientRegistration(ISSUER, "c", RegistrationSource.DYNAMIC, REDIRECT)
    ends = ClientRegistration(
        ISSUER, "c", RegistrationSource.DYNAMIC, REDIRECT, secret_expires_at=NOW
    )
    assert is_usable(kept, NOW)
    assert is_usable(ends, NOW - timedelta(seconds=1))
    assert not is_usable(ends, NOW)


@pytest.mark.parametrize("odd", ["two\nlines", "bell\x07", "\ud800", "x" * 1025, " ", 7, None])
def test_a_client_id_that_cannot_be_sent_or_shown_is_no_registration(odd: object) -> None:
    assert client_id_of({"client_id": odd}) is None
