"""The way to a provider is looked at over real sockets, and nothing of a login goes along."""

import socket
from dataclasses import replace

import pytest

from mcpproxy.core.model import FailureKind, FailureRun, Grant, RefreshFailure, Secret, Suspect
from mcpproxy.oauth.client import OAuthHttpSender
from mcpproxy.oauth.probe import ProviderProbe
from tests.oauth.exchanges import OK
from tests.oauth.made import GRANT, NOW
from tests.oauth.readings import PAGE
from tests.oauth.wire import Authority, Behaviour, Connection, listening, tunnel

pytestmark = pytest.mark.anyio

UNREACHED = RefreshFailure(FailureKind.NOT_SENT, "network unreachable")
PORTAL = RefreshFailure(FailureKind.TRANSIENT, "HTTP 200", status=200, suspect=Suspect.PORTAL)
TOKENS = (GRANT.tokens.access_token, GRANT.tokens.refresh_token)


def grant_at(base: str, failure: RefreshFailure) -> Grant:
    return replace(
        GRANT,
        issuer=base,
        token_endpoint=f"{base}/token",
        failures=FailureRun(1, NOW, NOW, failure),
    )


def answering(*replies: bytes) -> Behaviour:
    """The replies to one connection after the other, the last one for ever."""
    left = list(replies)

    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(left.pop(0) if len(left) > 1 else left[0])

    return behave


def page(status: str = "200 OK") -> bytes:
    body = PAGE.encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/login\r\ncontent-length: 0\r\n\r\n"
DOWN = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
CUT_OFF = b'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"issuer": "h'


async def is_open(port: int, failure: RefreshFailure) -> bool:
    grant = grant_at(f"http://127.0.0.1:{port}", failure)
    return await ProviderProbe(OAuthHttpSender()).is_open(grant)


async def test_where_nobody_was_reached_a_connection_is_enough_and_not_a_byte_is_sent() -> None:
    async with listening(Connection.until_closed) as peer:
        assert await is_open(peer.port, UNREACHED)
        await peer.closed.wait()
    assert peer.received == b""


async def test_nobody_there_is_a_closed_way() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert not await is_open(unused.getsockname()[1], UNREACHED)
        assert not await is_open(unused.getsockname()[1], PORTAL)


async def test_somebody_elses_certificate_is_a_closed_way(authority: Authority) -> None:
    probe = ProviderProbe(OAuthHttpSender(ca_file=authority.file))
    for name, is_ours in (("login.hotel.example", False), ("127.0.0.1", True)):
        async with listening(Connection.until_closed, tls=authority.server_context(name)) as peer:
            grant = grant_at(f"https://127.0.0.1:{peer.port}", UNREACHED)
            assert await probe.is_open(grant) is is_ours
            assert peer.received == b""


async def test_through_a_proxy_the_provider_itself_must_be_reached(authority: Authority) -> None:
    grant = grant_at("https://provider.example", UNREACHED)
    tls = authority.server_context("provider.example")
    async with (
        listening(Connection.until_closed, tls=tls) as far,
        listening(tunnel(far.port)) as proxy,
    ):
        way = Secret(f"http://127.0.0.1:{proxy.port}")
        assert await ProviderProbe(OAuthHttpSender(proxy=way, ca_file=authority.file)).is_open(
            grant
        )
        assert far.received == b""
    async with listening(answering(DOWN)) as proxy:
        way = Secret(f"http://127.0.0.1:{proxy.port}")
        assert not await ProviderProbe(OAuthHttpSender(proxy=way)).is_open(grant)


async def test_behind_a_portal_only_the_providers_metadata_counts() -> None:
    async with listening(answering(OK)) as peer:
        assert await is_open(peer.port, PORTAL)
        assert peer.received.startswith(b"GET /.well-known/oauth-authorization-server HTTP/1.1")


async def test_metadata_in_another_of_its_places_counts_too() -> None:
    async with listening(answering(NOT_FOUND, OK)) as peer:
        assert await is_open(peer.port, PORTAL)
        assert len(peer.connections) == 2


@pytest.mark.parametrize(
    "reply",
    [page(), page("511 Network Authentication Required"), REDIRECT, DOWN, NOT_FOUND, CUT_OFF],
    ids=["a page", "a page with its own status", "a redirect", "an outage", "nothing", "a part"],
)
async def test_anything_else_is_a_closed_way(reply: bytes) -> None:
    async with listening(answering(reply)) as peer:
        assert not await is_open(peer.port, PORTAL)


@pytest.mark.parametrize("failure", [UNREACHED, PORTAL], ids=["unreached", "portal"])
async def test_nothing_of_the_login_goes_along(failure: RefreshFailure) -> None:
    async with listening(answering(page())) as peer:
        await is_open(peer.port, failure)
    said = peer.received.decode().lower()
    secrets = [token.reveal() for token in TOKENS if token]
    for word in (*secrets, GRANT.client.client_id, "authorization:", "cookie", "token"):
        assert word not in said
