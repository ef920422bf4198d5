"""One exchange over real sockets: what was sent when it failed is never in doubt."""

import asyncio
import socket
import time
from datetime import timedelta

import pytest

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.http import HttpReply, HttpRequest
from mcpproxy.core.model import RefreshFailure
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.oauth.client import OAuthHttpSender
from tests.oauth.exchanges import (
    BODY,
    HASTY,
    QUICK,
    UNKNOWN,
    Intent,
    failure_of,
    fine,
    not_sent,
    post,
)
from tests.oauth.wire import Authority, Connection, listening

pytestmark = pytest.mark.anyio

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
