"""`GET /events`: what happens, as server-sent events.

Law: ids, replay after `Last-Event-ID`, a heartbeat, a bounded queue, and an end when the server
stops. A client that missed something is told by `stream.reset` and reads the state anew.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from mcpproxy.core.health import rfc3339
from mcpproxy.core.notices import Notice
from mcpproxy.observability.bus import Bus, Event, Gap, Subscription

HEARTBEAT: Final = timedelta(seconds=15)
"""Half of the shortest idle limit that proxies commonly have (30 s)."""

RETRY_MILLISECONDS: Final = 5000
MAX_STREAMS: Final = 100
MAX_ID: Final = 64
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """The ASGI endpoint."""

    def __init__(
        self, bus: Bus, closing: asyncio.Event, *, heartbeat: timedelta = HEARTBEAT
    ) -> None:
        """`closing` is set when the server begins to stop: then every stream ends."""
        self._bus = bus
        self._closing = closing
        self._heartbeat = heartbeat
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if self._open >= MAX_STREAMS:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if request.method == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        last = request.headers.get("last-event-id", "")[:MAX_ID] or None
        subscription = self._bus.subscribe(after=last)
        self._open += 1
        watching = (
            asyncio.create_task(_end_after(_disconnected(receive), subscription)),
            asyncio.create_task(_end_after(self._closing.wait(), subscription)),
        )
        try:
            await self._stream(subscription, send)
        finally:
            self._open -= 1
            self._bus.unsubscribe(subscription)
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _stream(self, subscription: Subscription, send: Send) -> None:
        await _write(send, f": mcpproxy\nretry: {RETRY_MILLISECONDS}\n\n".encode())
        while True:
            event = await subscription.next(self._heartbeat)
            if event is not None:
                await _write(send, encode(event))
            elif subscription.closed:
                await send({"type": "http.response.body", "body": b""})
                return
            else:
                await _write(send, b": ping\n\n")


def encode(event: Event | Gap) -> bytes:
    """One event of the stream. JSON has no raw line feeds, so `data` is one line."""
    if isinstance(event, Gap):
        return b'event: stream.reset\ndata: {"payload":{}}\n\n'
    data = msgspec.json.encode(
        {"payload": payload(event.notice), "timestamp": rfc3339(event.at)}
    ).decode()
    return f"id: {event.event_id}\nevent: {event.notice.NAME}\ndata: {data}\n\n".encode()


def payload(notice: Notice) -> dict[str, object]:
    """The notice's fields: times as RFC 3339, durations in seconds. What does not show itself
    does not go out.
    """
    fields = (field for field in dataclasses.fields(notice) if field.repr)
    return {field.name: _plain(getattr(notice, field.name)) for field in fields}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return value


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    """Returns when the client went away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end_after(reason: Awaitable[object], subscription: Subscription) -> None:
    """End the subscription, and with it its stream, once there is a reason."""
    await reason
    subscription.close()
