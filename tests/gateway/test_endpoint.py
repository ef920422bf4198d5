"""The endpoint, judged by the official SDK's client, in both eras and over every transport."""

import sys

import pytest

from mcpproxy.core.model import Transport, Upstream
from tests.gateway.peers import http_server, sse_server
from tests.gateway.world import KEY, Site, running
from tests.peers.mcp_client import connect, text
from tests.peers.process import ROOT

pytestmark = pytest.mark.anyio
HEADERS = {"X-API-Key": KEY}
STDIO = Upstream(
    "local",
    command=sys.executable,
    args=("-m", "tests.gateway.stdio_peer"),
    working_dir=str(ROOT),
)


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_a_client_lists_and_calls_tools_of_upstreams_of_every_transport(mode: str) -> None:
    async with http_server() as http, sse_server() as sse:
        upstreams = (
            STDIO,
            Upstream("remote", url=http),
            Upstream("old", url=sse),
            Upstream("typed", url=http, transport=Transport.STREAMABLE_HTTP),
        )
        async with running(*upstreams) as site:
            await site.connected("local", "remote", "old", "typed")
            async with connect(site.url, headers=HEADERS, mode=mode) as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                assert {"local__echo", "remote__echo", "old__echo", "typed__add"} <= names
                for server in ("local", "remote", "old", "typed"):
                    answer = await client.call_tool(f"{server}__echo", {"text": server})
                    assert text(answer) == server
                sum_of = await client.call_tool("remote__add", {"a": 2, "b": 3})
                assert sum_of.structured_content == {"result": 5}
