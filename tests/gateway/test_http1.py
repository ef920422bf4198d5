"""One connection to an upstream, byte by byte: what an answer is, and what ends the connection."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.failures import Broken
from mcpproxy.gateway.transports.answer import Answer
from mcpproxy.gateway.transports.http1 import MAX_HEAD, Connection
from mcpproxy.gateway.transports.inflate import PIECE

pytestmark = pytest.mark.anyio
LIMIT = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
BODY = b'{"jsonrpc":"2.0"}'
LENGTH = b"Content-Length: %d\r\n\r\n"
WHOLE = HEAD + LENGTH % len(BODY) + BODY


@dataclass
class Wire:
    """A transport, and what was done with it."""

    written: bytes = b""
    unsent: int = 0
    paused: bool = False
    aborted: bool = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted = True


@dataclass
class Line:
    """A connection on a wire, what it was freed for, and how often it was lost."""

    wire: Wire = field(default_factory=Wire)
    freed: list[Connection] = field(default_factory=list)
    lost: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection = Connection(self.freed.append, self.lost.append)
        self.connection.connection_made(cast("asyncio.Transport", self.wire))

    def hear(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.data_received(part)

    def end(self) -> None:
        """The upstream closes."""
        self.connection.eof_received()
        self.connection.connection_lost(None)

    async def asked(self) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self.connection.ask(b"?"))
        await asyncio.sleep(0)
        return task

    async def answered(self, *parts: bytes) -> Answer:
        task = await self.asked()
        self.hear(*parts)
        return await task


def gzipped(plain: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(plain) + packer.flush()


CODED = gzipped(BODY)
TWICE = gzipped(BODY[:4]) + gzipped(b"") + gzipped(BODY[4:])
RAW_DEFLATE = zlib.compress(BODY)[2:-4]
ANSWERS = {
    "length": WHOLE,
    "chunks": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\n%b\r\nc;x=y\r\n%b\r\n0\r\nT: 1\r\n\r\n"
    % (BODY[:5], BODY[5:]),
    "after an interim answer": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n"
    + WHOLE,
    "gzip": HEAD + b"Content-Encoding: gzip\r\n" + LENGTH % len(CODED) + CODED,
    "gzip of several members": HEAD + b"Content-Encoding: gzip\r\n" + LENGTH % len(TWICE) + TWICE,
    "gzip with zeros behind it": HEAD
    + b"Content-Encoding: gzip\r\n"
    + LENGTH % (len(CODED) + 3)
    + CODED
    + bytes(3),
    "deflate": HEAD
    + b"Content-Encoding: Deflate\r\n"
    + LENGTH % len(zlib.compress(BODY))
    + zlib.compress(BODY),
    "bare deflate": HEAD
    + b"Content-Encoding: deflate\r\n"
    + LENGTH % len(RAW_DEFLATE)
    + RAW_DEFLATE,
}


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_is_the_same_however_it_is_cut_into_packets(kind: str, size: int) -> None:
    line, sent = Line(), ANSWERS[kind]
    answer = await line.answered(*(sent[at : at + size] for at in range(0, len(sent), size)))
    assert (answer.status, answer.reason, answer.content_type) == (200, "OK", "application/json")
    assert await answer.read(LIMIT) == BODY
    assert (line.freed, line.wire.aborted) == ([line.connection], False)


async def test_a_connection_carries_one_answer_after_the_other() -> None:
    line = Line()
    for _ in range(3):
        assert await (await line.answered(WHOLE)).read(LIMIT) == BODY
    assert len(line.freed) == 3


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    line = Line()
    answer = await line.answered(HEAD + b"\r\n" + BODY)
    assert answer.is_open
    line.end()
    assert await answer.read(LIMIT) == BODY
    assert line.freed == []


@pytest.mark.parametrize("status", [b"202 Accepted\r\nContent-Length: 0", b"204 No Content"])
async def test_an_answer_without_a_body_is_whole_with_its_head(status: bytes) -> None:
    line = Line()
    answer = await line.answered(b"HTTP/1.1 %b\r\n\r\n" % status)
    assert not answer.is_open
    assert await answer.read(LIMIT) == b""
    assert line.freed == [line.connection]


async def test_headers_of_one_name_are_all_there_in_order() -> None:
    line = Line()
    answer = await line.answered(
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: A\r\nX: y\r\n"
        b"www-authenticate: B\r\nContent-Length: 0\r\n\r\n"
    )
    given = [value for name, value in answer.headers if name == "www-authenticate"]
    assert (given, answer.header("www-authenticate"), answer.header("z")) == (["A", "B"], "A", "")


@pytest.mark.parametrize(
    "sent",
    [WHOLE[:-1], HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", HEAD + LENGTH % 9],
    ids=["length", "chunk", "no body"],
)
async def test_an_answer_that_is_cut_off_is_broken_and_not_short(sent: bytes) -> None:
    line = Line()
    answer = await line.answered(sent)
    line.end()
    with pytest.raises(Broken, match="broke off"):
        await answer.read(LIMIT)


@pytest.mark.parametrize("sent", [b"", HEAD], ids=["nothing", "half a head"])
async def test_a_connection_that_ends_before_the_answers_head_is_broken(sent: bytes) -> None:
    line = Line()
    task = await line.asked()
    line.hear(sent) if sent else None
    line.end()
    with pytest.raises(Broken, match="without an answer"):
        await task
    assert line.lost


WRONG: dict[str, tuple[bytes, type[McpproxyError], str]] = {
    "not HTTP": (b"220 smtp.example.test ESMTP\r\n", Broken, "not HTTP"),
    "an endless head": (b"HTTP/1.1 200 OK\r\nA: " + b"b" * MAX_HEAD, Broken, "larger than"),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        Broken,
        "switched protocols",
    ),
    "an encoding nobody asked for": (
        HEAD + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        ProtocolError,
        "encoding 'br'",
    ),
    "two lengths": (
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        Broken,
        "not HTTP",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_cannot_be_an_answer_ends_the_connection(case: str) -> None:
    sent, error, words = WRONG[case]
    line = Line()
    task = await line.asked()
    line.hear(sent)
    with pytest.raises(error, match=words):
        await task
    assert line.wire.aborted
    assert line.freed == []


async def test_a_body_that_does_not_unpack_is_an_error() -> None:
    packed = HEAD + b"Content-Encoding: gzip\r\n" + LENGTH % 9 + b"not gzip!"
    line = Line()
    answer = await line.answered(packed[:-1])
    with pytest.raises(ProtocolError, match="not what it says"):
        await answer.read(LIMIT)
    assert line.wire.aborted


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", CODED),
        (b"gzip", TWICE),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", RAW_DEFLATE),
    ],
    ids=["gzip", "several members", "deflate", "bare deflate"],
)
async def test_a_packed_body_that_is_cut_off_is_an_error(coding: bytes, packed: bytes) -> None:
    line = Line()
    head = HEAD + b"Content-Encoding: %b\r\n" % coding
    answer = await line.answered(head + LENGTH % (len(packed) - 1) + packed[:-1])
    with pytest.raises(ProtocolError, match="cut off"):
        await answer.read(LIMIT)


async def test_an_empty_body_need_not_be_packed() -> None:
    line = Line()
    answer = await line.answered(HEAD + b"Content-Encoding: gzip\r\n" + LENGTH % 0)
    assert await answer.read(LIMIT) == b""


async def test_bytes_that_nobody_asked_for_end_the_connection_and_answer_nobody() -> None:
    line = Line()
    line.hear(WHOLE)
    assert line.wire.aborted
    late = Line()
    answer = await late.answered(WHOLE + WHOLE)
    assert await answer.read(LIMIT) == BODY
    assert late.wire.aborted
    assert not late.connection.is_usable


@pytest.mark.parametrize("more", [b"H", HEAD, WHOLE[:-1]], ids=["a byte", "half a head", "most"])
async def test_an_answer_begun_before_its_request_is_nobodys(more: bytes) -> None:
    line = Line()
    answer = await line.answered(WHOLE + more)
    assert await answer.read(LIMIT) == BODY
    assert line.wire.aborted
    assert not line.connection.is_usable
    assert line.lost


async def test_what_follows_the_chunks_of_an_answer_belongs_to_no_other_answer() -> None:
    line = Line()
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    first = await line.answered(chunked + b"Mcp-Session-Id: a\r\nContent-Type: no\r\nE:\r\n\r\n")
    assert await first.read(LIMIT) == b"{}"
    second = await line.answered(WHOLE)
    assert [name for name, _ in second.headers] == ["content-type", "content-length"]
    assert await second.read(LIMIT) == BODY


@pytest.mark.parametrize("piece", [b"X: y\r\n", b"y"], ids=["many", "one without end"])
async def test_what_follows_the_chunks_of_an_answer_is_bounded(piece: bytes) -> None:
    line = Line()
    answer = await line.answered(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nT: ")
    for _ in range(2 * MAX_HEAD // 1024):
        if not line.wire.aborted:
            line.hear(piece * (1024 // len(piece)))
    assert line.wire.aborted
    with pytest.raises(Broken, match="larger than"):
        await answer.read(LIMIT)


async def test_a_body_of_many_small_chunks_is_not_taken_for_what_follows_them() -> None:
    line = Line()
    answer = await line.answered(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(MAX_HEAD // 4):
        line.hear(b"1\r\n", b"x\r\n")
    line.hear(b"0\r\n\r\n")
    assert await answer.read(LIMIT) == b"x" * (MAX_HEAD // 4)


async def test_little_that_unpacks_to_very_much_comes_in_pieces_and_within_the_limit() -> None:
    bomb = gzipped(bytes(64 << 20))
    head = HEAD + b"Content-Encoding: gzip\r\n" + LENGTH % len(bomb)
    pieces = await Line().answered(head + bomb)
    assert len(await pieces.piece()) <= PIECE
    with pytest.raises(ProtocolError, match=f"larger than {LIMIT}"):
        await (await Line().answered(head + bomb)).read(LIMIT)


async def test_who_reads_too_slowly_makes_the_upstream_wait() -> None:
    line = Line()
    answer = await line.answered(HEAD + LENGTH % (4 << 20))
    while not line.wire.paused:
        line.hear(bytes(64 * 1024))
        assert answer.is_open
    while line.wire.paused:
        await answer.piece()
    assert not line.wire.aborted


async def test_an_answer_larger_than_wanted_is_refused_and_its_connection_ends() -> None:
    line = Line()
    answer = await line.answered(HEAD + LENGTH % 5000 + bytes(2000))
    with pytest.raises(ProtocolError, match="larger than 1000"):
        await answer.read(1000)
    assert line.wire.aborted


async def test_giving_up_before_the_head_ends_the_connection() -> None:
    line = Line()
    task = await line.asked()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert line.wire.aborted
    assert line.lost


async def test_giving_up_in_the_moment_of_the_answer_leaves_the_connection_to_others() -> None:
    line = Line()
    task = await line.asked()
    line.hear(WHOLE)
    task.cancel()
    await asyncio.wait([task])
    assert (line.freed, line.wire.aborted) == ([line.connection], False)


async def test_closing_an_answer_ends_only_a_connection_that_still_brings_it() -> None:
    whole, half = Line(), Line()
    (await whole.answered(WHOLE)).close()
    (await half.answered(WHOLE[:-3])).close()
    assert (whole.wire.aborted, half.wire.aborted) == (False, True)


async def unsent(line: Line) -> None:
    line.wire.unsent = 5
    await line.answered(WHOLE)


async def told(line: Line) -> None:
    await line.answered(HEAD + b"Connection: close\r\n" + LENGTH % 0)


async def old(line: Line) -> None:
    await line.answered(WHOLE.replace(b"1.1", b"1.0"))


@pytest.mark.parametrize("happens", [unsent, told, old])
async def test_a_connection_that_cannot_be_used_again_is_not_kept(
    happens: Callable[[Line], Awaitable[None]],
) -> None:
    line = Line()
    await happens(line)
    assert (line.freed, line.wire.aborted) == ([], True)
