"""The room as a whole against other people's authorization servers, over real HTTP."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mcpproxy.core.model import (
    FailureKind,
    Grant,
    OAuthConfig,
    RefreshFailure,
    Refusals,
    Secret,
    Upstream,
)
from mcpproxy.core.provider_ports import Issued, RefreshOutcome
from mcpproxy.oauth.client import OAuthHttpSender
from mcpproxy.oauth.conversation import Conversation
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.storage.memory import MemoryStore
from tests.oauth.made import FixedClock
from tests.peers.django_oauth_toolkit import DjangoProvider
from tests.peers.forms import log_in_by_forms
from tests.peers.oauth_client import Callback
from tests.peers.oidc_provider import OidcProvider
from tests.peers.protected_mcp_server import ProtectedMcpServer

pytestmark = pytest.mark.anyio

Provider = OidcProvider | DjangoProvider


@pytest.fixture(params=[OidcProvider, DjangoProvider])
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    with request.param(tmp_path) as started:
        yield started


@pytest.fixture
def server(provider: Provider, tmp_path: Path) -> Iterator[ProtectedMcpServer]:
    with ProtectedMcpServer(tmp_path, provider) as started:
        yield started


@pytest.fixture(autouse=True)
def no_outbound_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def log_in(conversation: Conversation, upstream: Upstream, clock: FixedClock) -> Grant:
    with Callback() as callback:
        login = await conversation.prepare(upstream, callback.redirect_uri)
        landing = await asyncio.to_thread(log_in_by_forms, login.authorization_url)
    code = conversation.read_redirect(login, landing.url)
    answer = await conversation.present_code(login, code)
    return conversation.read_code_answer(login, answer, clock.now())


async def refresh(endpoint: TokenEndpoint, grant: Grant, clock: FixedClock) -> RefreshOutcome:
    async def ready() -> None:
        """The intent is none of this test's business."""

    answer = await endpoint.present(grant, before_send=ready)
    assert isinstance(answer, Secret), answer
    return endpoint.read(grant, answer, clock.now())


async def test_a_login_is_made_refreshed_and_given_back(
    provider: Provider, server: ProtectedMcpServer
) -> None:
    sender, clock = OAuthHttpSender(), FixedClock()
    conversation = Conversation(sender, MemoryStore(), clock)
    endpoint = TokenEndpoint(sender, clock)

    grant = await log_in(conversation, Upstream("example", url=server.url), clock)
    assert grant.issuer == provider.issuer
    assert grant.tokens.refresh_token is not None
    assert grant.scope is not None
    assert "mcp" in grant.scope.split()

    outcome = await refresh(endpoint, grant, clock)
    assert isinstance(outcome, Issued), outcome
    assert outcome.tokens.refresh_token not in (None, grant.tokens.refresh_token)

    refreshed = replace(grant, tokens=outcome.tokens)
    assert await endpoint.revoke(refreshed) is None
    refused = await refresh(endpoint, refreshed, clock)
    assert isinstance(refused, RefreshFailure)
    assert (refused.kind, refused.code) == (FailureKind.REFUSED, "invalid_grant")


async def test_a_client_that_the_provider_forgot_is_made_anew(tmp_path: Path) -> None:
    with OidcProvider(tmp_path) as provider, ProtectedMcpServer(tmp_path, provider) as server:
        sender, clock = OAuthHttpSender(), FixedClock()
        store = MemoryStore()
        conversation = Conversation(sender, store, clock)
        upstream = Upstream("example", url=server.url)
        grant = await log_in(conversation, upstream, clock)
        provider.forget_client(grant.client.client_id)

        refused = await refresh(TokenEndpoint(sender, clock), grant, clock)
        assert isinstance(refused, RefreshFailure)
        assert (refused.kind, refused.code) == (FailureKind.REFUSED, "invalid_client")

        now = clock.now()
        await store.replace_grant(replace(grant, refusals=Refusals(1, now, now, refused)))
        renewed = await log_in(conversation, upstream, clock)
        assert renewed.client.client_id != grant.client.client_id


async def test_a_client_with_a_secret_proves_itself(tmp_path: Path) -> None:
    with DjangoProvider(tmp_path) as provider, ProtectedMcpServer(tmp_path, provider) as server:
        sender, clock = OAuthHttpSender(), FixedClock()
        client_id, secret = provider.confidential_client
        config = OAuthConfig(client_id=client_id, client_secret=Secret(secret))
        upstream = Upstream("example", url=server.url, oauth=config)
        grant = await log_in(Conversation(sender, MemoryStore(), clock), upstream, clock)
        outcome = await refresh(TokenEndpoint(sender, clock), grant, clock)
        assert isinstance(outcome, Issued), outcome
