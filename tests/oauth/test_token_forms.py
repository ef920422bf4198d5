"""The form of a refresh request: what is asked for first, and what is learned from refusals."""

import base64
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from mcpproxy.core.model import AuthMethod, Grant, Secret, Variant
from mcpproxy.core.provider_ports import OtherVariant
from mcpproxy.oauth.token import refresh_request
from tests.oauth.made import GRANT, SECRET_CLIENT, answer
from tests.oauth.readings import TRANSIENT, failed, oauth, read

RESOURCE_UNWANTED = {
    "invalid_target": oauth("invalid_target"),
    "Entra": oauth("invalid_target", "AADSTS9010010: The resource parameter provided ..."),
    "Entra under another code": oauth("invalid_request", "AADSTS901002: 'resource' parameter"),
    "in words": oauth("invalid_request", "Unsupported parameter: resource"),
}
SCOPE_WANTED = {
    "invalid_scope": oauth("invalid_scope"),
    "Entra": oauth("invalid_request", "AADSTS90009: Application is requesting a token for itself"),
    "Entra's other": oauth("invalid_request", "AADSTS900144: must contain: 'scope'"),
    "in words": oauth("invalid_request", "The scope parameter is required"),
}


@pytest.mark.parametrize("body", RESOURCE_UNWANTED.values(), ids=RESOURCE_UNWANTED)
def test_a_provider_that_wants_no_resource_gets_none(body: str) -> None:
    assert read(answer(400, body)) == OtherVariant(Variant.NO_RESOURCE)


@pytest.mark.parametrize("body", SCOPE_WANTED.values(), ids=SCOPE_WANTED)
@pytest.mark.parametrize("variant", [Variant.AS_LOGIN, Variant.NO_RESOURCE])
def test_a_provider_that_wants_the_scope_gets_it(body: str, variant: Variant) -> None:
    outcome = read(answer(400, body), replace(GRANT, variant=variant))
    assert outcome == OtherVariant(Variant.WITH_SCOPE)


@pytest.mark.parametrize(
    ("grant", "body"),
    [
        (replace(GRANT, variant=Variant.NO_RESOURCE), oauth("invalid_target")),
        (replace(GRANT, variant=Variant.WITH_SCOPE), oauth("invalid_target")),
        (replace(GRANT, variant=Variant.WITH_SCOPE), oauth("invalid_scope")),
        (replace(GRANT, resource=None), oauth("invalid_target")),
        (replace(GRANT, scope=None), oauth("invalid_scope")),
    ],
)
def test_with_no_other_form_left_the_request_is_at_fault_and_not_the_grant(
    grant: Grant, body: str
) -> None:
    failure = failed(answer(400, body), grant)
    assert failure.kind is TRANSIENT
    assert failure.code in {"invalid_target", "invalid_scope"}


def form(grant: Grant) -> dict[str, list[str]]:
    assert grant.tokens.refresh_token is not None
    return parse_qs(refresh_request(grant, grant.tokens.refresh_token).body.decode())


def test_a_refresh_names_the_resource_of_the_login_and_leaves_the_scope_as_granted() -> None:
    assert form(GRANT) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["old-refresh-token"],
        "client_id": ["client-1"],
        "resource": [GRANT.resource],
    }


def test_the_learned_forms_differ_in_what_was_learned() -> None:
    assert "resource" not in form(replace(GRANT, variant=Variant.NO_RESOURCE))
    assert form(replace(GRANT, variant=Variant.WITH_SCOPE))["scope"] == ["read offline_access"]


def test_a_secret_in_the_header_is_encoded_and_the_body_names_no_client() -> None:
    grant = replace(GRANT, client=SECRET_CLIENT)
    request = refresh_request(grant, Secret("r"))
    pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic "))
    assert pair == b"id%3Awith%2Fodd+chars:s3cret%26%3D%25"
    assert "client_id" not in parse_qs(request.body.decode())


def test_a_secret_in_the_body_stands_beside_the_client() -> None:
    client = replace(SECRET_CLIENT, auth_method=AuthMethod.SECRET_POST)
    fields = form(replace(GRANT, client=client))
    assert fields["client_id"] == ["id:with/odd chars"]
    assert fields["client_secret"] == ["s3cret&=%"]
