"""The answer to one POST of a session: JSON, or an event stream as soon as something precedes it.

Law: a plain answer costs no task and no stream. A stream that broke goes on without its reader;
who comes back to it finds what followed, the response too.
"""

import asyncio
from typing import Final

from msgspec import Raw

from mcpproxy.gateway.asgi import Receive, Send, respond, until_gone
from mcpproxy.gateway.client_session import ClientSession
from mcpproxy.gateway.streams import EventStream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

# The version whose clients know an event without data (SEP-1699).
_PRIMED: Final = frozenset({"2025-11-25"})


class ResumableReply:
    """It is the `Asker` of its request; `hear` is the sink of what precedes the response."""

    __slots__ = ("_receive", "_request_id", "_send", "_session", "_stream", "_writer")

    def __init__(
        self,
        session: ClientSession,
        request_id: Raw,
        send: Send,
        receive: Receive,
    ) -> None:
        self._session = session
        self._request_id = request_id
        self._send = send
        self._receive = receive
        self._stream: EventStream | None = None
        self._writer: asyncio.Task[None] | None = None

    def hear(self, notification: Members) -> None:
        """Send a notification before the response. When too many wait the newest is dropped."""
        if self._session.wants(jsonrpc.text(notification.get("method")), notification):
            stream = self._opened()
            if stream.unwritten < self._session.limits.max_queued_notices:
                stream.put(jsonrpc.encode(notification))

    async def ask(self, method: str, params: Raw | None) -> Members:
        return await self._session.ask(method, params, self._opened())

    def streamed(self) -> None:
        """What can be come back to at the upstream can be come back to here as well."""
        if self._is_primed():
            self._opened()

    def hung_up(self) -> None:
        """A stream that is held open for an upstream which is not there is held for nothing."""
        if self._is_primed() and self._stream is not None:
            self._stream.hang_up()

    def _is_primed(self) -> bool:
        return self._session.introduced.version in _PRIMED

    async def finish(self, body: bytes) -> None:
        if self._stream is None:
            return await respond(self._send, 200, body)
        self._stream.put(body)
        self._stream.end()
        if self._writer is not None:
            await self._writer

    def abandon(self) -> None:
        """There will be no response."""
        if self._stream is not None:
            self._stream.end()
        if self._writer is not None:
            self._writer.cancel()

    def _opened(self) -> EventStream:
        """The answer is an event stream from now on."""
        if self._stream is None:
            self._stream = self._session.open_stream(self._request_id)
            reader = self._stream.attach()
            self._writer = asyncio.create_task(self._write(self._stream, reader))
        return self._stream

    async def _write(self, stream: EventStream, reader: object) -> None:
        await read_stream(stream, reader, self._session, self._send, self._receive)


async def read_stream(
    stream: EventStream,
    reader: object,
    session: ClientSession,
    send: Send,
    receive: Receive,
    after: int | None = None,
) -> None:
    """Be the reader of a stream, for as long as the connection and the stream last."""
    gone = asyncio.create_task(until_gone(receive))
    gone.add_done_callback(lambda _: stream.detach(reader))
    primed = session.introduced.version in _PRIMED and after is None
    try:
        await stream.begin(send, retry=session.limits.retry_stream if primed else None)
        await stream.write(send, reader, after)
    finally:
        gone.cancel()
