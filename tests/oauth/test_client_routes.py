"""The ways out: proxies, authorities, and no way into private networks."""

import asyncio
from pathlib import Path

import pytest

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.http import HttpReply, HttpRequest
from mcpproxy.core.model import Secret
from mcpproxy.oauth.client import OAuthHttpSender
from tests.oauth.exchanges import HASTY, OK, fine, not_sent, post
from tests.oauth.wire import Authority, Connection, listening, tunnel

pytestmark = pytest.mark.anyio

# --- outbound proxies and authorities -------------------------------------------------------

FAR = "provider.example"


async def test_through_a_proxy_the_intent_waits_for_the_tunnel(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    async def behave(connection: Connection) -> None:
        await connection.request()
        order.append("request")
        await connection.send(OK)

    async def intent() -> None:
        order.append("intent")

    tls = authority.server_context(FAR)
    async with listening(behave, tls=tls) as far, listening(tunnel(far.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        sender = OAuthHttpSender(ca_file=authority.file)
        reply = await sender.exchange(post(443, scheme="https", host=FAR), before_send=intent)
    assert isinstance(reply, HttpReply)
    assert proxy.received.startswith(b"CONNECT provider.example:443 HTTP/1.1\r\n")
    assert b"the-secret" not in proxy.received
    assert order == ["intent", "request"]


async def test_a_configured_proxy_is_used_and_the_intent_can_still_stop_it(
    authority: Authority,
) -> None:
    async def refuse() -> None:
        raise StoreUnavailable("no")

    tls = authority.server_context(FAR)
    async with (
        listening(Connection.until_closed, tls=tls) as far,
        listening(tunnel(far.port)) as proxy,
    ):
        sender = OAuthHttpSender(
            proxy=Secret(f"http://127.0.0.1:{proxy.port}"), ca_file=authority.file
        )
        with pytest.raises(StoreUnavailable):
            await sender.exchange(post(443, scheme="https", host=FAR), before_send=refuse)
        await asyncio.wait_for(far.closed.wait(), 5)
    assert proxy.received.startswith(b"CONNECT ")
    assert far.received == b""


async def test_a_proxy_that_refuses_has_sent_nothing() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(
            b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
        )

    async with listening(behave) as proxy:
        sender = OAuthHttpSender(proxy=Secret(f"http://127.0.0.1:{proxy.port}"))
        failure = await not_sent(post(443, scheme="https", host=FAR), sender)
    assert failure.detail == "the outbound proxy refused: 407 Proxy Authentication Required"


async def test_a_proxy_that_hangs_has_sent_nothing() -> None:
    async with listening(Connection.until_closed) as proxy:
        sender = OAuthHttpSender(policy=HASTY, proxy=Secret(f"http://127.0.0.1:{proxy.port}"))
        failure = await not_sent(post(443, scheme="https", host=FAR), sender)
    assert failure.detail == "timeout"


async def test_a_proxy_that_cannot_be_used_is_named() -> None:
    sender = OAuthHttpSender(proxy=Secret("gopher://127.0.0.1:1"))
    failure = await not_sent(post(443, scheme="https", host=FAR), sender)
    assert failure.detail == "the URL or the outbound proxy's cannot be used"


async def test_this_machine_is_reached_without_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with listening(fine) as peer:
        reply = await OAuthHttpSender(proxy=Secret("http://127.0.0.1:9")).exchange(post(peer.port))
    assert isinstance(reply, HttpReply)


async def test_an_authority_of_one_s_own_is_honoured(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    tls = authority.server_context("127.0.0.1")
    async with listening(fine, tls=tls) as peer:
        reply = await OAuthHttpSender().exchange(post(peer.port, scheme="https"))
    assert isinstance(reply, HttpReply)


async def test_a_host_that_needs_no_proxy_is_reached_without() -> None:
    async with listening(Connection.until_closed) as proxy:
        address = Secret(f"http://127.0.0.1:{proxy.port}")
        sender = OAuthHttpSender(proxy=address, no_proxy=["does-not-exist.invalid"])
        request = post(443, scheme="https", host="www.does-not-exist.invalid")
        assert (await not_sent(request, sender)).detail == "name not found"
        assert proxy.connections == []


async def test_an_authority_that_cannot_be_read_has_sent_nothing(tmp_path: Path) -> None:
    async with listening(Connection.until_closed) as peer:
        sender = OAuthHttpSender(ca_file=tmp_path / "missing.pem")
        failure = await not_sent(post(peer.port, scheme="https"), sender)
        assert failure.detail == "the configured certificate authority cannot be read"
        assert peer.connections == []


# --- no way into private networks -----------------------------------------------------------


async def test_a_public_server_cannot_lead_us_into_a_private_network() -> None:
    async with listening(fine) as peer:
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{peer.port}/"
            request = HttpRequest("GET", url, on_behalf_of="https://1.1.1.1/mcp")
            failure = await not_sent(request)
            assert failure.detail == f"{host} is in a private network, the server is not"
        assert peer.connections == []


async def test_a_server_on_this_machine_may(authority: Authority) -> None:
    tls = authority.server_context("localhost")
    async with listening(fine, tls=tls) as peer:
        url = f"https://localhost:{peer.port}/"
        request = HttpRequest("GET", url, on_behalf_of="http://127.0.0.1:3000/mcp")
        sender = OAuthHttpSender(ca_file=authority.file)
        reply = await sender.exchange(request)
    assert isinstance(reply, HttpReply)
    assert f"host: localhost:{peer.port}".encode() in peer.received.lower()


async def test_a_pinned_address_must_still_prove_its_name(authority: Authority) -> None:
    tls = authority.server_context("127.0.0.1")
    async with listening(fine, tls=tls) as peer:
        url = f"https://localhost:{peer.port}/"
        request = HttpRequest("GET", url, on_behalf_of="http://127.0.0.1:3000/mcp")
        failure = await not_sent(request, OAuthHttpSender(ca_file=authority.file))
    assert failure.detail.startswith("TLS: Hostname mismatch")
