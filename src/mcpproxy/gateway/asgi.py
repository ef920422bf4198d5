"""The little of ASGI that the endpoint needs: a bounded body, an answer, an event stream."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from datetime import timedelta
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON_HEADER: Final = (b"content-type", b"application/json")
_ONCE: Final = frozenset(
    (b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id", b"last-event-id")
)
STREAM_HEADERS: Final[Headers] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The request's headers by lower-case name; of a repeated one the last."""
    return dict(scope["headers"])


def repeated(scope: Scope) -> bytes | None:
    """A header of MCP's that stands there twice: whoever routes by the first and we, who take the
    last, would see two requests.
    """
    names = [name for name, _ in scope["headers"]]
    if len(names) == len(set(names)):
        return None
    return next((name for name in names if name in _ONCE and names.count(name) > 1), None)


async def read_body(receive: Receive, limit: int, patience: timedelta) -> bytes | None:
    """The whole body; None when it is larger than `limit` or its sender went away.

    Raises TimeoutError when it is not there within `patience`.
    """
    async with asyncio.timeout(patience.total_seconds()):
        return await _read_body(receive, limit)


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and message["type"] == "http.request":
        return body if len(body) <= limit else None
    parts, size = [body], len(body)
    while message.get("more_body") and size <= limit:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    whole = message["type"] == "http.request" and size <= limit
    return b"".join(parts) if whole else None


async def respond(send: Send, status: int, body: bytes = b"", headers: Headers = ()) -> None:
    """A whole answer: JSON, or nothing."""
    own: list[tuple[bytes, bytes]] = [(b"content-length", b"%d" % len(body)), *headers]
    if body:
        own.append(JSON_HEADER)
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})


async def begin_stream(send: Send, headers: Headers = ()) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers]}
    )


async def write(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def end_stream(send: Send) -> None:
    await send({"type": "http.response.body", "body": b""})


async def until_gone(receive: Receive) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        continue
