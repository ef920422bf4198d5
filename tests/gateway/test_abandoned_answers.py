"""Answers of upstreams that nobody reads to their end: their connections go, too."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.transports.outbound import FROM_ENVIRONMENT
from mcpproxy.gateway.transports.web import WebClient

pytestmark = pytest.mark.anyio

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: begun\n\n"


@asynccontextmanager
async def endless() -> AsyncIterator[tuple[URL, asyncio.Event]]:
    """A server whose answers begin and never end; the event is set when a client hangs up."""
    hung_up = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BEGUN)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield URL(f"http://127.0.0.1:{port}/mcp"), hung_up


async def test_who_is_cancelled_while_reading_leaves_no_connection_behind() -> None:
    client = WebClient(GatewayLimits(), FROM_ENVIRONMENT)
    reading = asyncio.Event()

    async def read(url: URL) -> None:
        answer = await client.request("GET", url, b"GET /mcp HTTP/1.1\r\nHost: up\r\n\r\n")
        assert await answer.piece() == b": begun\n\n"
        reading.set()
        await answer.piece()

    async with endless() as (url, hung_up):
        reader = asyncio.create_task(read(url))
        async with asyncio.timeout(10):
            await reading.wait()
            reader.cancel()
            await asyncio.wait([reader])
            await hung_up.wait()
    await client.close()
