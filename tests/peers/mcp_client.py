"""The official SDK's client, as the judge of what speaks MCP.

async with connect(url, token="...") as client:
    assert text(await client.call_tool("echo", {"text": "hi"})) == "hi"
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from tests.peers.process import NO_TLS

TIMEOUT = 20.0


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    mode: Any = "auto",
    **options: Any,
) -> AsyncIterator[Client]:
    """A client of an MCP endpoint over Streamable HTTP.

    `mode` is the SDK's: "auto" finds the era out, "legacy" begins with initialize; so are the
    `options`.
    """
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    timeout = httpx2.Timeout(TIMEOUT)
    async with (
        httpx2.AsyncClient(headers=sent, trust_env=False, timeout=timeout, verify=NO_TLS) as http,
        Client(
            streamable_http_client(url, http_client=http),
            mode=mode,
            read_timeout_seconds=TIMEOUT,
            **options,
        ) as client,
    ):
        yield client


@asynccontextmanager
async def connect_stdio(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    mode: Any = "auto",
) -> AsyncIterator[Client]:
    """A client of a server that it starts itself."""
    parameters = StdioServerParameters(
        command=argv[0], args=list(argv[1:]), env=dict(env) if env else None, cwd=cwd
    )
    async with Client(parameters, mode=mode, read_timeout_seconds=TIMEOUT) as client:
        yield client


def text(result: Any) -> str:
    """The text of a tool's answer; an AssertionError that shows it when the tool failed."""
    assert not result.is_error, result
    return "".join(part.text for part in result.content if isinstance(part, TextContent))
