"""One answer to one POST: JSON, or an event stream as soon as something precedes the response."""

import asyncio

from mcpproxy.gateway.asgi import Headers, Send, begin_stream, end_stream, respond, write
from mcpproxy.gateway.wire import jsonrpc, sse
from mcpproxy.gateway.wire.jsonrpc import Members


class Reply:
    """`hear` is the sink of the request's notifications. A full queue drops the newest: hints."""

    def __init__(self, send: Send, limit: int) -> None:
        self._send = send
        self._limit = limit
        self._queue: asyncio.Queue[bytes | None] | None = None
        self._writer: asyncio.Task[None] | None = None

    def hear(self, notification: Members) -> None:
        """Send a notification before the response. The first one makes the answer a stream."""
        if self._queue is None:
            self._queue = asyncio.Queue(self._limit)
            self._writer = asyncio.create_task(self._write(self._queue))
        # The last place is for the end of the stream.
        if self._queue.qsize() < self._limit - 1:
            self._queue.put_nowait(jsonrpc.encode(notification))

    async def finish(self, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
        """Send the response, and the end of the answer. A stream's status is 200 already."""
        if self._queue is None or self._writer is None:
            await respond(self._send, status, body, headers)
            return
        await self._queue.put(None)
        await self._writer
        await write(self._send, sse.event(body))
        await end_stream(self._send)

    def abandon(self) -> None:
        """Nobody will read this any more."""
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self, queue: asyncio.Queue[bytes | None]) -> None:
        await begin_stream(self._send)
        while (body := await queue.get()) is not None:
            await write(self._send, sse.event(body))
