from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.core.errors import LoginDenied, LoginError
from mcpproxy.core.model import Secret
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.oauth.authorization import (
    AuthorizationRequest,
    authorization_url,
    choose_scope,
    code_challenge,
    read_redirect,
    refuses_client,
)
from mcpproxy.oauth.discovery import Discovered, ServerMetadata
from tests.oauth.made import CLIENT, ISSUER, NOW, REDIRECT, SERVER

REQUEST = AuthorizationRequest(
    endpoint=f"{ISSUER}/authorize",
    client_id="client-1",
    redirect_uri=REDIRECT,
    state=Secret("st"),
    code_verifier=Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    resource=SERVER,
    scope="a b",
    extra={},
)
LOGIN = PendingLogin(
    flow_id="f",
    server="example",
    server_url=SERVER,
    state=Secret("st"),
    code_verifier=Secret("v"),
    issuer=ISSUER,
    token_endpoint=f"{ISSUER}/token",
    client=CLIENT,
    authorization_url=f"{ISSUER}/authorize?x",
    redirect_uri=REDIRECT,
    created_at=NOW,
    expires_at=NOW,
)
STRICT = replace(LOGIN, iss_required=True)


def query(request: AuthorizationRequest) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(authorization_url(request)).query)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def test_the_challenge_is_rfc_7636_s_own_example() -> None:
    assert code_challenge(REQUEST.code_verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_request_carries_pkce_state_resource_and_scope() -> None:
    assert query(REQUEST) == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": REDIRECT,
        "state": "st",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        "scope": "a b",
        "resource": SERVER,
    }


def test_what_is_not_known_is_not_sent() -> None:
    assert (
        not {"scope", "resource", "prompt"}
        & query(replace(REQUEST, scope=None, resource=None)).keys()
    )


def test_offline_access_asks_for_consent_unless_configured_otherwise() -> None:
    offline = replace(REQUEST, scope="a offline_access")
    assert query(offline)["prompt"] == "consent"
    assert query(replace(offline, extra={"prompt": "login"}))["prompt"] == "login"


def test_extra_parameters_are_sent_but_never_in_place_of_protection() -> None:
    extra = {"audience": "x", "state": "mine", "code_challenge": "mine", "redirect_uri": "mine"}
    sent = query(replace(REQUEST, extra=extra))
    assert sent["audience"] == "x"
    assert sent["state"] == "st"
    assert sent["redirect_uri"] == REDIRECT
    assert sent["code_challenge"] != "mine"


@pytest.mark.parametrize("endpoint", [f"{ISSUER}/a?tenant=1", f"{ISSUER}/a?tenant=1&"])
def test_an_endpoint_s_own_query_is_kept(endpoint: str) -> None:
    sent = query(replace(REQUEST, endpoint=endpoint))
    assert sent["tenant"] == "1"
    assert sent["client_id"] == "client-1"


@pytest.mark.parametrize(
    ("configured", "found", "supported", "scope"),
    [
        (("mine",), ("asked",), (), "mine"),
        ((), ("asked", "also"), (), "asked also"),
        ((), (), (), None),
        ((), ("asked",), ("asked", "offline_access"), "asked offline_access"),
        (("mine", "offline_access"), (), ("offline_access",), "mine offline_access"),
        ((), ("a", "a"), (), "a"),
        ((), (), ("offline_access",), "offline_access"),
    ],
)
def test_the_scope_is_the_configured_then_the_asked_for_then_none(
    configured: tuple[str, ...],
    found: tuple[str, ...],
    supported: tuple[str, ...],
    scope: str | None,
) -> None:
    server = ServerMetadata(ISSUER, f"{ISSUER}/authorize", f"{ISSUER}/token", scopes=supported)
    assert choose_scope(configured, Discovered(server, SERVER, found)) == scope


# --- the redirect ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "redirect",
    [
        f"{REDIRECT}?code=c1&state=st",
        "/oauth/callback?state=st&code=c1",
        "?state=st&code=c1",
        f"  {REDIRECT}?code=c1&state=st&iss=https%3A%2F%2Fauth.example\n",
        f"{REDIRECT}?code=c1&state=st&session_state=x#frag",
    ],
)
def test_the_code_is_taken_from_a_redirect_url_or_its_query(redirect: str) -> None:
    assert read_redirect(LOGIN, redirect) == "c1"


@pytest.mark.parametrize(
    ("login", "redirect", "because"),
    [
        (LOGIN, "?code=c&state=other", "state"),
        (LOGIN, "?code=c", "state"),
        (LOGIN, "?code=c&state=", "state"),
        (LOGIN, "?code=c&state=st&state=st", "more than once"),
        (LOGIN, "?code=c&code=d&state=st", "more than once"),
        (LOGIN, "?state=st", "neither a code nor an error"),
        (LOGIN, "?state=st&code=", "neither a code nor an error"),
        (LOGIN, "?state=st&code=c&iss=https://evil.example", "comes from"),
        (LOGIN, f"?state=st&code=c&iss={ISSUER}/", "comes from"),
        (LOGIN, "?state=st&code=c&iss=", "comes from"),
        (STRICT, "?state=st&code=c", "does not say which provider"),
        (STRICT, "?state=st&error=access_denied", "does not say which provider"),
        (LOGIN, "?state=st&error=access_denied&iss=https://evil.example", "comes from"),
        (LOGIN, "http://[::1?code=c&state=st", "state"),
        (LOGIN, "", "state"),
        (LOGIN, "?state=st&error=server_error", "server_error"),
    ],
)
def test_what_is_not_an_answer_to_this_login_is_refused(
    login: PendingLogin, redirect: str, because: str
) -> None:
    with pytest.raises(LoginError, match=because) as caught:
        read_redirect(login, redirect)
    assert not isinstance(caught.value, LoginDenied)
    assert caught.value.next_step


def test_a_no_is_a_no_and_says_why() -> None:
    redirect = f"?error=access_denied&error_description=User+said+no&state=st&iss={ISSUER}"
    with pytest.raises(LoginDenied, match="access_denied: User said no"):
        read_redirect(STRICT, redirect)


def test_what_a_redirect_says_is_made_safe_to_show() -> None:
    with pytest.raises(LoginError) as caught:
        read_redirect(LOGIN, "?state=st&error=x&error_description=%1b%5b31m%E2%80%AEred")
    assert caught.value.message.isprintable()


def test_a_provider_that_does_not_know_our_client_says_so() -> None:
    assert refuses_client("?error=unauthorized_client&state=st")
    assert not refuses_client("?error=access_denied")
    assert not refuses_client("?code=c")


@given(st.text())
def test_no_redirect_whatever_ends_in_anything_but_a_login_error(text: str) -> None:
    with pytest.raises(LoginError):
        read_redirect(LOGIN, f"?x={text}")
