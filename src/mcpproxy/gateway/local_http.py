"""A small HTTP/1.1 client for our own daemon: a Unix socket or loopback, one connection a request.

Law: standard library only and quick to import; it speaks to nobody but our own server.
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

_HEAD_LIMIT: Final = 1 << 16
_CHUNK: Final = 1 << 16
_CONNECT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """Where the daemon listens, and the key it wants. `socket` is preferred where it is set."""

    host: str
    port: int
    key: str | None = None
    socket: str | None = None
    path: str = "/mcp"


class NotRunning(Exception):
    """Nobody listens there: nothing was sent."""


class ConnectionLost(Exception):
    """The connection ended under the request: it may or may not have been carried out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is still to be read. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks])


@asynccontextmanager
async def exchange(
    daemon: Daemon, method: str, headers: Mapping[str, str], body: bytes = b""
) -> AsyncIterator[Answer]:
    """One request. Raises NotRunning or ConnectionLost, also while the body is read."""
    reader, writer = await _connect(daemon)
    try:
        writer.write(_head(daemon, method, headers, len(body)) + body)
        await writer.drain()
        yield await _answer(reader)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise ConnectionLost(str(error)) from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _connect(daemon: Daemon) -> tuple[StreamReader, StreamWriter]:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            if daemon.socket is not None:
                return await asyncio.open_unix_connection(daemon.socket, limit=_HEAD_LIMIT)
            return await asyncio.open_connection(daemon.host, daemon.port, limit=_HEAD_LIMIT)
    except OSError as error:
        raise NotRunning(str(error)) from error


def _head(daemon: Daemon, method: str, headers: Mapping[str, str], length: int) -> bytes:
    host = f"[{daemon.host}]" if ":" in daemon.host else daemon.host
    sent = {"Host": f"{host}:{daemon.port}", "Connection": "close", **headers}
    if daemon.key is not None:
        sent["X-API-Key"] = daemon.key
    if length or method == "POST":
        sent["Content-Length"] = str(length)
    lines = [f"{method} {daemon.path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def _answer(reader: StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(int(head[0].split(" ", 2)[1]), headers, _body(reader, headers))


async def _body(reader: StreamReader, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int((await reader.readline()).split(b";")[0] or b"x", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while chunk := await reader.read(_CHUNK):
            yield chunk
