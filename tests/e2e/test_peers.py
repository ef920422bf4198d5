"""The peers do what the other tests rely on."""

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.peers import environment, everything, time_server
from tests.peers.browser import Landing, approve_device_oidc, log_in_django, log_in_oidc
from tests.peers.django_oauth_toolkit import DjangoProvider
from tests.peers.everything import EverythingServer
from tests.peers.forms import log_in_by_forms
from tests.peers.mcp_client import connect, connect_stdio, text
from tests.peers.oauth_client import DEVICE_GRANT, Callback, OAuthClient, discover
from tests.peers.oidc_provider import OidcProvider
from tests.peers.protected_mcp_server import ProtectedMcpServer
from tests.peers.record import fingerprint

pytestmark = pytest.mark.anyio

RESOURCE = "http://127.0.0.1:9/mcp"
OIDC_SCOPE = "openid offline_access mcp"


@dataclass(frozen=True)
class LoggedIn:
    client: OAuthClient
    tokens: dict[str, Any]

    @property
    def access_token(self) -> str:
        return str(self.tokens["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.tokens["refresh_token"])


async def by_forms(page_url: str) -> Landing:
    """A login where it is only the beginning: the same pages, without a browser."""
    return log_in_by_forms(page_url)


async def log_in(
    issuer: str,
    in_browser: Callable[[str], Awaitable[Landing]],
    *,
    scope: str,
    resource: str = RESOURCE,
    client_id: str | None = None,
) -> LoggedIn:
    """The whole of a login: registration, browser, callback, exchange."""
    metadata = discover(issuer)
    with Callback() as callback:
        if client_id is None:
            client = OAuthClient.register(metadata, callback.redirect_uri, scope=scope)
        else:
            client = OAuthClient(metadata, {"client_id": client_id})
        login = client.begin(callback.redirect_uri, scope=scope, resource=resource)
        landing = await in_browser(login.url)
        assert landing.url.startswith(callback.redirect_uri)
        assert "Login received" in landing.text
        result = callback.result()
        assert result["state"] == login.state
        assert result["iss"] == issuer
        answer = client.exchange(login, result["code"], callback.redirect_uri, resource)
    assert answer.status_code == 200, answer.text
    return LoggedIn(client, answer.json())


@pytest.fixture(scope="module")
def oidc_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    with OidcProvider(tmp_path_factory.mktemp("oidc")) as running:
        yield running


@pytest.fixture
def oidc(oidc_process: OidcProvider) -> Iterator[OidcProvider]:
    yield oidc_process
    oidc_process.clear_faults()


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DjangoProvider]:
    with DjangoProvider(tmp_path_factory.mktemp("django"), grace_period=30) as running:
        yield running


async def test_oidc_rotates_and_the_reuse_of_a_spent_token_ends_the_grant(
    oidc: OidcProvider,
) -> None:
    login = await log_in(oidc.issuer, log_in_oidc, scope=OIDC_SCOPE)
    second = login.client.refresh(login.refresh_token).json()
    assert second["refresh_token"] != login.refresh_token

    reused = login.client.refresh(login.refresh_token)
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    newest = login.client.refresh(second["refresh_token"])
    assert (newest.status_code, newest.json()["error"]) == (400, "invalid_grant")

    outcomes = [(found.refresh_token, found.status) for found in oidc.refreshes()[-3:]]
    first_print, second_print = map(fingerprint, (login.refresh_token, second["refresh_token"]))
    assert outcomes == [(first_print, 200), (first_print, 400), (second_print, 400)]
    assert oidc.refreshes()[-3].issued_refresh_token == second_print


async def test_oidc_keeps_grants_and_clients_when_it_is_killed(oidc: OidcProvider) -> None:
    login = await log_in(oidc.issuer, by_forms, scope=OIDC_SCOPE)
    oidc.restart()
    assert login.client.refresh(login.refresh_token).status_code == 200


async def test_oidc_faults_before_the_work_spend_nothing(oidc: OidcProvider) -> None:
    login = await log_in(oidc.issuer, by_forms, scope=OIDC_SCOPE)
    oidc.fault("status", status=503, headers={"Retry-After": "7"}, times=2)
    for _ in range(2):
        refused = login.client.refresh(login.refresh_token)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "7")
    assert not oidc.refreshes()[-1].processed

    oidc.fault("drop")
    with pytest.raises(httpx2.TransportError):
        login.client.refresh(login.refresh_token)
    assert login.client.refresh(login.refresh_token).status_code == 200


@pytest.mark.parametrize("action", ["drop", "cut"])
async def test_oidc_faults_after_the_work_spend_the_token(oidc: OidcProvider, action: str) -> None:
    login = await log_in(oidc.issuer, by_forms, scope=OIDC_SCOPE)
    oidc.fault(action, when="after")
    with pytest.raises(httpx2.TransportError):
        login.client.refresh(login.refresh_token)
    lost = oidc.refreshes()[-1]
    assert (lost.processed, lost.status, lost.fault) == (True, 200, action)
    assert login.client.refresh(login.refresh_token).json()["error"] == "invalid_grant"


async def test_oidc_can_leave_members_out_of_an_answer(oidc: OidcProvider) -> None:
    login = await log_in(oidc.issuer, by_forms, scope=OIDC_SCOPE)
    oidc.fault("edit", remove=["expires_in"], set={"extra": 1})
    answer = login.client.refresh(login.refresh_token).json()
    assert "expires_in" not in answer
    assert answer["extra"] == 1


async def test_oidc_users_and_administrators_can_end_things(oidc: OidcProvider) -> None:
    login = await log_in(oidc.issuer, by_forms, scope=OIDC_SCOPE)
    assert oidc.revoke_grants()
    assert login.client.refresh(login.refresh_token).json()["error"] == "invalid_grant"
    oidc.forget_client(login.client.client_id)
    forgotten = login.client.refresh(login.refresh_token)
    assert (forgotten.status_code, forgotten.json()["error"]) == (401, "invalid_client")


async def test_oidc_revokes_on_request(oidc: OidcProvider) -> None:
    login = await log_in(oidc.issuer, by_forms, scope=OIDC_SCOPE)
    assert login.client.revoke(login.refresh_token).status_code == 200
    assert login.client.refresh(login.refresh_token).json()["error"] == "invalid_grant"
    assert oidc.requests()[-2].path == "/token/revocation"


async def test_oidc_lets_a_device_in(oidc: OidcProvider) -> None:
    client = OAuthClient.register(
        discover(oidc.issuer),
        "http://127.0.0.1/callback",
        scope=OIDC_SCOPE,
        grant_types=["authorization_code", "refresh_token", DEVICE_GRANT],
    )
    started = client.begin_device(scope=OIDC_SCOPE, resource=RESOURCE)
    waiting = client.poll_device(started["device_code"])
    assert waiting.json()["error"] == "authorization_pending"
    landing = await approve_device_oidc(started["verification_uri_complete"])
    assert "success" in landing.text
    tokens = client.poll_device(started["device_code"]).json()
    assert client.refresh(tokens["refresh_token"]).status_code == 200


async def test_django_honours_a_spent_token_within_its_grace_window(
    django: DjangoProvider,
) -> None:
    login = await log_in(
        django.issuer, log_in_django, scope="mcp", client_id=DjangoProvider.public_client
    )
    second = login.client.refresh(login.refresh_token)
    again = login.client.refresh(login.refresh_token)
    assert (second.status_code, again.status_code) == (200, 200)
    newest = again.json()["refresh_token"]
    assert login.client.refresh(newest).status_code == 200
    assert [found.status for found in django.refreshes()[-3:]] == [200, 200, 200]
    assert django.logins()


async def test_django_without_a_grace_window_ends_the_grant_on_reuse(tmp_path: Path) -> None:
    with DjangoProvider(tmp_path, grace_period=0) as strict:
        login = await log_in(strict.issuer, by_forms, scope="mcp")
        second = login.client.refresh(login.refresh_token).json()
        strict.restart()
        reused = login.client.refresh(login.refresh_token)
        assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
        newest = login.client.refresh(second["refresh_token"])
        assert newest.json()["error"] == "invalid_grant"


@pytest.mark.parametrize("kind", ["oidc", "django"])
async def test_the_protected_server_wants_a_token_of_its_issuer(
    kind: str, oidc: OidcProvider, django: DjangoProvider, tmp_path: Path
) -> None:
    provider = oidc if kind == "oidc" else django
    scope = OIDC_SCOPE if kind == "oidc" else "mcp"
    with ProtectedMcpServer(tmp_path, provider) as server:
        async with httpx2.AsyncClient(trust_env=False) as http:
            refused = await http.post(server.url, json={})
            metadata = (await http.get(server.metadata_url)).json()
        assert refused.status_code == 401
        assert server.metadata_url in refused.headers["WWW-Authenticate"]
        assert metadata["resource"] == server.url
        assert metadata["authorization_servers"] == [provider.issuer]

        login = await log_in(provider.issuer, by_forms, scope=scope, resource=server.url)
        for mode in ("auto", "legacy"):
            async with connect(server.url, token=login.access_token, mode=mode) as client:
                who = json.loads(text(await client.call_tool("whoami", {})))
                assert text(await client.call_tool("add", {"a": 2, "b": 3})) == "5"
            assert who["subject"] == "alice"
            assert who["token"] == fingerprint(login.access_token)
        assert server.requests()[0].status == 401
        assert server.requests()[-1].token == fingerprint(login.access_token)

        login.client.revoke(login.access_token)
        headers = {"Authorization": f"Bearer {login.access_token}"}
        async with httpx2.AsyncClient(trust_env=False, headers=headers) as http:
            assert (await http.post(server.url, json={})).status_code == 401
            server.answer(503, headers={"Retry-After": "1"})
            assert (await http.post(server.url, json={})).status_code == 503


async def test_the_everything_server_speaks_streamable_http_and_stdio(tmp_path: Path) -> None:
    with EverythingServer(tmp_path) as server:
        async with connect(server.url) as client:
            over_http = await client.call_tool("echo", {"message": "hi"})
    async with connect_stdio(everything.stdio_command()) as client:
        over_stdio = await client.call_tool("echo", {"message": "hi"})
    assert text(over_http) == text(over_stdio) == "Echo: hi"


async def test_the_time_server_speaks_stdio() -> None:
    async with connect_stdio(time_server.stdio_command()) as client:
        answer = await client.call_tool("get_current_time", {"timezone": "Europe/Berlin"})
    assert json.loads(text(answer))["timezone"] == "Europe/Berlin"


async def test_the_environment_server_tells_what_it_was_started_with() -> None:
    async with connect_stdio(environment.command(), env={"PEER_TEST": "1"}) as client:
        answer = await client.call_tool("environment", {})
    assert json.loads(text(answer))["env"]["PEER_TEST"] == "1"
