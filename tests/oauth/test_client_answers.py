"""What comes of an answer that is not whole: whatever did come is kept."""

import asyncio
import gzip
import time

import pytest

from mcpproxy.core.http import HttpReply
from mcpproxy.oauth.client import MAX_BODY, OAuthHttpSender
from tests.oauth.exchanges import QUICK, post
from tests.oauth.wire import Connection, listening

pytestmark = pytest.mark.anyio


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
