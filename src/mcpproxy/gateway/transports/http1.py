"""One HTTP/1.1 connection to an upstream and the answer that is on its way on it.

Law: one request at a time. Whatever comes unasked, too early, too large or cut off ends the
connection: no answer may ever be taken for the answer to another request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import httptools

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.failures import Broken, NotSent
from mcpproxy.gateway.text import short
from mcpproxy.gateway.transports.answer import Answer, Headers
from mcpproxy.gateway.transports.inflate import Inflate

MAX_HEAD: Final = 64 * 1024
"""Bytes of an answer that are no body, its head and what follows its chunks, each give or take the
read in which it ends."""
_MAX_UNREAD: Final = 512 * 1024
"""So much of a body waits for its reader; then the upstream waits."""
_SWITCHING: Final = 101
_BROKEN_OFF: Final = "the connection broke off in the middle of an answer"


class Http1Answer(Answer):
    """An answer on a connection of ours."""

    __slots__ = ("_connection", "_failure", "_inflate", "_over", "_parts", "_unread", "_waiter")

    def __init__(self, connection: Connection, status: int, reason: str, headers: Headers) -> None:
        """Raises ProtocolError for an encoding that was not asked for."""
        super().__init__(status, reason, headers)
        self._connection = connection
        self._parts: deque[bytes] = deque()
        self._unread = 0
        self._over = False
        self._failure: McpproxyError | None = None
        self._waiter: asyncio.Future[None] | None = None
        encoding = self.header("content-encoding").strip().lower()
        self._inflate = Inflate(encoding) if encoding not in ("", "identity") else None

    @property
    def is_open(self) -> bool:
        return not self._over

    async def piece(self) -> bytes:
        if self._inflate is None:
            return await self._part()
        while True:
            try:
                if self._inflate.has_more and (plain := self._inflate.piece()):
                    if self._inflate.has_more:
                        await asyncio.sleep(0)  # a little may hold very much: others have a turn
                    return plain
            except ProtocolError:
                self.close()
                raise
            part = await self._part()
            if not part:
                self._inflate.end()
                return b""
            self._inflate.put(part)

    def close(self) -> None:
        self._parts.clear()
        if not self._over:
            self._connection.abort()

    async def _part(self) -> bytes:
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self._over:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.close()  # nobody else reads on, or gives the connection back
                raise
            finally:
                self._waiter = None
        part = self._parts.popleft()
        self._unread -= len(part)
        if not self._over and self._unread < _MAX_UNREAD:
            self._connection.go_on()
        return part

    # --- what the connection says ---------------------------------------------------------

    def came(self, part: bytes) -> bool:
        """Whether the upstream may go on."""
        self._parts.append(part)
        self._unread += len(part)
        self._wake()
        return self._unread < _MAX_UNREAD

    def ended(self, failure: McpproxyError | None = None) -> None:
        self._over, self._failure = True, failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """`free` is called when it can take another request, `lost` once when it is gone."""

    def __init__(
        self, free: Callable[[Connection], None], lost: Callable[[Connection], None]
    ) -> None:
        self.free_since = 0.0
        self._free = free
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        # What other clients forgive, too; none of it makes two answers of one.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._asked: asyncio.Future[Http1Answer] | None = None
        self._answer: Http1Answer | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = ""
        self._no_body = 0
        self._interim = False
        self._paused = False

    @property
    def is_usable(self) -> bool:
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and self._asked is None
            and self._answer is None
        )

    async def ask(self, request: bytes) -> Answer:
        """Send a request; its answer, once its head is here.

        Raises NotSent, Broken, ProtocolError.
        """
        if self._transport is None or self._transport.is_closing():
            raise NotSent("the server closed the connection at once")
        asked: asyncio.Future[Http1Answer] = asyncio.get_running_loop().create_future()
        self._asked = asked
        self._no_body = 0
        self._transport.write(request)
        try:
            return await asked
        except BaseException:
            if self._asked is asked:
                self.abort()
            elif asked.done() and not asked.cancelled() and asked.exception() is None:
                asked.result().close()
            raise

    def abort(self) -> None:
        """End it now; whoever waits for it hears of that."""
        if self._transport is not None:
            self._transport.abort()
        self._end(None)

    def go_on(self) -> None:
        transport, paused, self._paused = self._transport, self._paused, False
        # uvloop's transports take nothing ill but being told something after their end.
        if paused and transport is not None and not transport.is_closing():
            transport.resume_reading()

    # --- what the transport says ----------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._asked is None and self._answer is None:
            self.abort()
            return
        self._no_body += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(_parser_failure(error))
            return
        if self._no_body > MAX_HEAD:
            self._fail(Broken(f"an answer's head or trailers are larger than {MAX_HEAD} bytes"))

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _fail(self, failure: McpproxyError) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(failure)
        elif self._answer is not None:
            self._answer.ended(failure)
        self._asked = self._answer = None
        self.abort()

    def _end(self, exc: Exception | None) -> None:
        """Nothing more comes: the end of a body that ends so, or its breaking off."""
        self._transport = None
        asked, answer = self._asked, self._answer
        self._asked = self._answer = None
        if asked is not None and not asked.done():
            asked.set_exception(Broken("the server closed the connection without an answer"))
        if answer is not None:
            bounded = answer.header("content-length") or answer.header("transfer-encoding")
            broken = exc is not None or bounded
            answer.ended(Broken(_BROKEN_OFF) if broken else None)
        self._lost(self)

    # --- what the parser says -------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._asked is None:
            raise Broken("the server sent an answer that nobody asked for")

    def on_status(self, status: bytes) -> None:
        self._reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows an answer's chunks says nothing that we read, and nothing of the next answer.
        if self._answer is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        reason, self._reason = self._reason, ""
        if status < 200:
            if status == _SWITCHING:
                raise Broken("the server switched protocols, which was not asked for")
            self._interim = True
            return
        self._no_body = 0
        readable = [(n.decode("latin-1").lower(), v.decode("utf-8", "replace")) for n, v in headers]
        answer = Http1Answer(self, status, reason, readable)
        asked, self._asked, self._answer = self._asked, None, answer
        if asked is None or asked.done():  # its asker was cancelled a moment ago
            self.abort()
        else:
            asked.set_result(answer)

    def on_body(self, body: bytes) -> None:
        self._no_body = 0
        if self._answer is None or self._answer.came(body) or self._transport is None:
            return
        self._paused = True
        self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        answer, self._answer = self._answer, None
        self._no_body = 0
        if answer is not None:
            answer.ended()
        self.go_on()
        transport = self._transport
        if transport is None:
            return
        # With something of the request unsent, the upstream would read it as the next one.
        if self._parser.should_keep_alive() and not transport.get_write_buffer_size():
            self._free(self)
        else:
            self.abort()


def _parser_failure(error: Exception) -> McpproxyError:
    """What a callback raised, or that this is no HTTP."""
    if isinstance(error.__context__, McpproxyError):
        return error.__context__
    if isinstance(error, httptools.HttpParserUpgrade):
        return Broken("the server switched protocols, which was not asked for")
    return Broken(f"the server's answer is not HTTP: {short(str(error), 80)}")
