"""Clients by hand: what they send and get, byte for byte."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from mcpproxy.core.model import Upstream
from tests.gateway.hostile import Scripted, scripted
from tests.gateway.world import KEY, Site, running

JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "i",
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}},
}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def tool_call(request_id: Any, arguments: Any = None, **meta: Any) -> dict[str, Any]:
    params = {"name": "up__echo", "arguments": arguments or {}}
    if meta:
        params["_meta"] = meta
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


@dataclass
class Peer:
    """A client by hand."""

    http: httpx2.AsyncClient
    url: str
    headers: dict[str, str] = field(default_factory=lambda: {**JSON, "X-API-Key": KEY})

    async def post(self, message: Any, **headers: str) -> httpx2.Response:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.http.post(self.url, content=body, headers={**self.headers, **headers})

    async def begin(self) -> None:
        answer = await self.post(INITIALIZE)
        assert answer.status_code == 200, answer.text
        self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await self.post(initialized)).status_code == 202


@asynccontextmanager
async def a_peer(site: Site, path: str = "") -> AsyncIterator[Peer]:
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as http:
        yield Peer(http, site.url + path)


@asynccontextmanager
async def a_site(server: Scripted | None = None, **fields: Any) -> AsyncIterator[Site]:
    """A gateway with one upstream `up` that is connected."""
    async with (
        scripted(server or Scripted()) as url,
        running(Upstream("up", url=url), **fields) as site,
    ):
        await site.connected("up")
        yield site


def modern(method: str, **params: Any) -> tuple[dict[str, Any], dict[str, str]]:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    return message, {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}


@dataclass
class Streamed:
    """An event stream as it is read: `ids` are those of all its events."""

    response: httpx2.Response
    lines: AsyncIterator[str]
    ids: list[str] = field(default_factory=list)

    async def next(self) -> Any:
        """The next message on it, within a deadline; None at its end."""
        async with asyncio.timeout(20):
            async for line in self.lines:
                if line.startswith("id: "):
                    self.ids.append(line[4:])
                if line.startswith("data: ") and line[6:]:
                    return json.loads(line[6:])
        return None


@asynccontextmanager
async def streaming(
    peer: Peer, method: str, message: Any = None, **headers: str
) -> AsyncIterator[Streamed]:
    """A request whose answer is an event stream."""
    sent = {**peer.headers, **headers}
    body = None if message is None else json.dumps(message).encode()
    async with peer.http.stream(method, peer.url, content=body, headers=sent) as response:
        assert response.status_code == 200, (response.status_code, await response.aread())
        assert response.headers["content-type"] == "text/event-stream"
        yield Streamed(response, response.aiter_lines())


def messages_of(response: httpx2.Response) -> list[Any]:
    """All messages of an answer, whether it is JSON or an event stream."""
    if response.headers["content-type"] != "text/event-stream":
        return [response.json()]
    lines = (line[6:] for line in response.text.splitlines() if line.startswith("data: "))
    return [json.loads(data) for data in lines if data]
