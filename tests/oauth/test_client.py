"""One exchange over real sockets: what was sent when it failed is never in doubt."""

import asyncio
import gzip
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure, Secret
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.oauth.client import MAX_BODY, OAuthHttpSender
from tests.oauth.wire import Authority, Connection, listening, tunnel

pytestmark = pytest.mark.anyio

BODY = b"grant_type=refresh_token&refresh_token=the-secret"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
QUICK = RefreshPolicy(answer_timeout=timedelta(seconds=0.6))
HASTY = RefreshPolicy(connect_timeout=timedelta(seconds=0.4))
NOT_SENT, UNKNOWN = FailureKind.NOT_SENT, FailureKind.UNKNOWN


@pytest.fixture(autouse=True)
def no_outbound_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def post(port: int, *, scheme: str = "http", host: str = "127.0.0.1") -> HttpRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return HttpRequest("POST", f"{scheme}://{host}:{port}/token", headers, BODY)


async def fine(connection: Connection) -> None:
    await connection.request()
    await connection.send(OK)


class Intent:
    """A `before_send` that notes when it was awaited."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1


def failure_of(reply: HttpReply | NoReply) -> RefreshFailure:
    assert isinstance(reply, NoReply), reply
    return reply.failure


# --- the request ----------------------------------------------------------------------------


async def test_the_request_goes_out_plain_and_alone() -> None:
    async with listening(fine) as peer:
        reply = await OAuthHttpSender().exchange(post(peer.port))
    assert isinstance(reply, HttpReply)
    assert (reply.status, reply.body, reply.complete) == (200, b"{}", True)
    head, _, body = peer.received.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /token http/1.1"
    assert "accept-encoding: identity" in lines
    assert "connection: close" in lines
    assert "content-type: application/x-www-form-urlencoded" in lines
    assert not [line for line in lines if line.startswith(("cookie", "authorization"))]
    assert body == BODY


async def test_every_exchange_has_a_connection_of_its_own() -> None:
    async with listening(fine) as peer:
        sender = OAuthHttpSender()
        for _ in range(3):
            await sender.exchange(post(peer.port))
        assert len(peer.connections) == 3


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(
            b"HTTP/1.1 307 Elsewhere\r\nlocation: /other\r\nset-cookie: a=b\r\n"
            b"content-length: 0\r\n\r\n"
        )

    async with listening(behave) as peer:
        reply = await OAuthHttpSender().exchange(post(peer.port))
        assert isinstance(reply, HttpReply)
        assert (reply.status, reply.headers["location"]) == (307, "/other")
        assert len(peer.connections) == 1


async def test_headers_are_lower_case_and_repeated_ones_are_joined() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(
            b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=a\r\n"
            b"WWW-Authenticate: Bearer scope=b\r\nContent-Length: 0\r\n\r\n"
        )

    async with listening(behave) as peer:
        reply = await OAuthHttpSender().exchange(post(peer.port))
    assert isinstance(reply, HttpReply)
    assert reply.headers["www-authenticate"] == "Basic realm=a, Bearer scope=b"


# --- before_send ----------------------------------------------------------------------------


async def test_the_intent_is_written_once_when_the_connection_stands() -> None:
    intent = Intent()
    async with listening(fine) as peer:
        reply = await OAuthHttpSender().exchange(post(peer.port), before_send=intent)
    assert isinstance(reply, HttpReply)
    assert intent.times == 1


async def test_a_store_that_refuses_the_intent_lets_no_byte_out() -> None:
    async def refuse() -> None:
        raise StoreUnavailable("the disk is full")

    async with listening(Connection.until_closed) as peer:
        with pytest.raises(StoreUnavailable, match="disk is full"):
            await OAuthHttpSender().exchange(post(peer.port), before_send=refuse)
        await asyncio.wait_for(peer.closed.wait(), 5)
    assert len(peer.connections) == 1
    assert peer.received == b""


@pytest.mark.parametrize("error", [ValueError("x"), OSError("y"), RuntimeError("z")])
async def test_any_objection_is_raised_as_it_is(error: Exception) -> None:
    async def object_to() -> None:
        raise error

    async with listening(Connection.until_closed) as peer:
        with pytest.raises(type(error)) as caught:
            await OAuthHttpSender().exchange(post(peer.port), before_send=object_to)
    assert caught.value is error
    assert peer.received == b""


async def test_no_byte_leaves_while_the_intent_is_being_written() -> None:
    seen: list[bytes] = []

    async with listening(fine) as peer:

        async def slow() -> None:
            # The peer has served another connection meanwhile, so it would have read ours too.
            await OAuthHttpSender().exchange(HttpRequest("GET", f"http://127.0.0.1:{peer.port}/"))
            seen.append(bytes(peer.connections[0].received))

        await OAuthHttpSender().exchange(post(peer.port), before_send=slow)
    assert seen == [b""]
    assert BODY in peer.connections[0].received


async def test_a_slow_store_does_not_run_into_the_deadlines_of_the_network() -> None:
    released = asyncio.Event()
    policy = RefreshPolicy(
        connect_timeout=timedelta(seconds=1), answer_timeout=timedelta(seconds=1)
    )
    asyncio.get_running_loop().call_later(1.5, released.set)

    async def slow() -> None:
        await released.wait()

    async with listening(fine) as peer:
        reply = await OAuthHttpSender(policy=policy).exchange(post(peer.port), before_send=slow)
    assert isinstance(reply, HttpReply)


async def test_over_tls_the_handshake_is_done_before_the_intent(authority: Authority) -> None:
    async def refuse() -> None:
        raise StoreUnavailable("no")

    tls = authority.server_context("127.0.0.1")
    async with listening(Connection.until_closed, tls=tls) as peer:
        sender = OAuthHttpSender(ca_file=authority.file)
        with pytest.raises(StoreUnavailable):
            await sender.exchange(post(peer.port, scheme="https"), before_send=refuse)
        await asyncio.wait_for(peer.closed.wait(), 5)
        assert len(peer.connections) == 1, "the peer is told of a connection after its handshake"
    assert peer.received == b""


# --- nothing was sent -----------------------------------------------------------------------


async def not_sent(request: HttpRequest, sender: OAuthHttpSender | None = None) -> RefreshFailure:
    intent = Intent()
    reply = await (sender or OAuthHttpSender()).exchange(request, before_send=intent)
    failure = failure_of(reply)
    assert failure.kind is NOT_SENT
    assert intent.times == 0
    return failure


async def test_a_refused_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert (await not_sent(post(port))).detail == "connection refused"


async def test_a_name_that_does_not_exist() -> None:
    failure = await not_sent(post(443, scheme="https", host="does-not-exist.invalid"))
    assert failure.detail == "name not found"


@pytest.mark.parametrize(
    ("names", "life", "detail"),
    [
        (("127.0.0.1",), timedelta(days=-1), "TLS: certificate has expired"),
        (("other.example",), timedelta(days=1), "TLS: IP address mismatch"),
    ],
)
async def test_a_certificate_that_is_wrong(
    authority: Authority, names: tuple[str, ...], life: timedelta, detail: str
) -> None:
    tls = authority.server_context(*names, life=life)
    async with listening(Connection.until_closed, tls=tls) as peer:
        sender = OAuthHttpSender(ca_file=authority.file)
        failure = await not_sent(post(peer.port, scheme="https"), sender)
    assert failure.detail.startswith(detail)
    assert peer.received == b""


async def test_a_certificate_of_an_unknown_authority(authority: Authority) -> None:
    tls = authority.server_context("127.0.0.1")
    async with listening(Connection.until_closed, tls=tls) as peer:
        failure = await not_sent(post(peer.port, scheme="https"))
    assert failure.detail == "TLS: unable to get local issuer certificate"


async def test_a_server_that_does_not_speak_tls() -> None:
    async def behave(connection: Connection) -> None:
        await connection.send(b"220 mail.example ESMTP\r\n")
        await connection.until_closed()

    async with listening(behave) as peer:
        failure = await not_sent(post(peer.port, scheme="https"))
    assert failure.detail.startswith("TLS: ")


@pytest.mark.parametrize("cut", [Connection.reset, lambda connection: connection.writer.close()])
async def test_a_connection_that_ends_in_the_handshake(cut: object) -> None:
    async def behave(connection: Connection) -> None:
        await connection.reader.read(1)
        cut(connection)  # type: ignore[operator]

    async with listening(behave) as peer:
        failure = await not_sent(post(peer.port, scheme="https"))
    assert failure.detail in {"connection reset", "connection closed", "connection failed"}


async def test_a_handshake_that_never_ends() -> None:
    async with listening(Connection.until_closed) as peer:
        began = time.monotonic()
        failure = await not_sent(post(peer.port, scheme="https"), OAuthHttpSender(policy=HASTY))
        assert time.monotonic() - began < 5
    assert failure.detail == "timeout"


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "ftp://x/y", "http://[::1", "//x"])
async def test_a_url_that_is_none(url: str) -> None:
    failure = await not_sent(HttpRequest("POST", url))
    assert failure.detail == "the URL or the outbound proxy's cannot be used"


# --- it may have been read ------------------------------------------------------------------


async def unknown(behave: object, policy: RefreshPolicy = QUICK) -> RefreshFailure:
    intent = Intent()
    async with listening(behave) as peer:  # type: ignore[arg-type]
        sender = OAuthHttpSender(policy=policy)
        reply = await sender.exchange(post(peer.port), before_send=intent)
    failure = failure_of(reply)
    assert failure.kind is UNKNOWN
    assert intent.times == 1
    return failure


async def test_a_reset_after_the_request() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        connection.reset()

    assert (await unknown(behave)).detail == "connection reset"


async def test_a_reset_in_the_middle_of_the_request() -> None:
    async def behave(connection: Connection) -> None:
        await connection.reader.read(10)
        connection.reset()

    failure = await unknown(behave)
    assert failure.detail in {"connection reset", "connection closed without an answer"}


async def test_a_close_without_an_answer() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()

    assert (await unknown(behave)).detail == "connection closed without an answer"


async def test_a_silence() -> None:
    began = time.monotonic()
    assert (await unknown(Connection.until_closed)).detail == "timeout"
    assert time.monotonic() - began < 5


async def test_half_a_head() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-le")
        await connection.until_closed()

    assert (await unknown(behave)).detail == "timeout"


async def test_what_is_not_http() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"\x15\x03\x01\x00\x02\x02\x46 nonsense\r\n\r\n")

    assert (await unknown(behave)).detail == "invalid HTTP"


# --- a part of an answer --------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nretry-after: 5\r\n\r\n"
PART = b'{"access_token":"new'


async def partly(behave: object) -> HttpReply:
    async with listening(behave) as peer:  # type: ignore[arg-type]
        reply = await OAuthHttpSender(policy=QUICK).exchange(post(peer.port))
    assert isinstance(reply, HttpReply)
    assert not reply.complete
    return reply


async def test_an_answer_that_is_cut_off_is_kept() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(HEAD + PART)

    reply = await partly(behave)
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (200, PART, "5")


async def test_an_answer_that_is_reset_is_kept() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(HEAD)
        connection.reset()

    assert (await partly(behave)).status == 200


async def test_an_answer_that_stalls_is_kept() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(HEAD + PART)
        await connection.until_closed()

    assert (await partly(behave)).body == PART


async def test_an_answer_that_drips_is_bounded_by_the_whole_deadline() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            await connection.send(b"x")
            await asyncio.sleep(0.02)

    began = time.monotonic()
    reply = await partly(behave)
    assert time.monotonic() - began < 5
    assert 0 < len(reply.body) < 1000


async def test_a_flood_is_cut() -> None:
    sent = 0

    async def behave(connection: Connection) -> None:
        nonlocal sent
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        while sent < 67108864:
            await connection.send(b"x" * 65536)
            sent += 65536

    reply = await partly(behave)
    assert reply.body == b"x" * MAX_BODY
    assert sent < 67108864


async def test_chunks_that_break_off_are_kept() -> None:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await connection.send(b"14\r\n" + PART + b"\r\n")

    assert (await partly(behave)).body == PART


def compressed(data: bytes) -> object:
    async def behave(connection: Connection) -> None:
        await connection.request()
        await connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b"
            % (len(data), data)
        )

    return behave


async def test_an_answer_that_is_compressed_though_we_asked_for_it_plain_is_read() -> None:
    async with listening(compressed(gzip.compress(b'{"a":1}'))) as peer:  # type: ignore[arg-type]
        reply = await OAuthHttpSender().exchange(post(peer.port))
    assert isinstance(reply, HttpReply)
    assert (reply.body, reply.complete) == (b'{"a":1}', True)


async def test_a_compressed_flood_is_cut() -> None:
    reply = await partly(compressed(gzip.compress(b"x" * 50_000_000)))
    assert reply.body == b"x" * MAX_BODY


async def test_half_a_compressed_answer_is_half_read() -> None:
    text = bytes(range(256)) * 40
    reply = await partly(compressed(gzip.compress(text)[:-12]))
    assert text.startswith(reply.body)


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


# --- cancelled ------------------------------------------------------------------------------


async def test_a_cancelled_exchange_closes_its_connection() -> None:
    async with listening(Connection.until_closed) as peer:
        sent = asyncio.Event()

        async def intent() -> None:
            sent.set()

        task = asyncio.create_task(OAuthHttpSender().exchange(post(peer.port), before_send=intent))
        await asyncio.wait_for(sent.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(peer.closed.wait(), 5)
