"""A request that takes longer than a server that stops waits for it."""

import asyncio
import logging
from datetime import timedelta

import httpx2
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from mcpproxy.config.listen import Listen
from mcpproxy.web.server import WebServer

pytestmark = pytest.mark.anyio


async def test_a_request_that_outlasts_the_grace_is_answered_by_whoever_cuts_it_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, cut = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await cut.wait()
        await PlainTextResponse("cut off")(scope, receive, send)

    server = WebServer(app, Listen("127.0.0.1", 0), grace=timedelta(milliseconds=100))
    await server.start()
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        asking = asyncio.create_task(client.get(f"http://{server.listen}/"))
        await begun.wait()
        await server.stop(cut.set)
        assert (await asking).text == "cut off"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
