"""A client that goes as it likes: plain HTTP over one socket, closed in the middle of anything."""

import asyncio
import contextlib
import json
from typing import Any, Final
from urllib.parse import urlsplit

from mcpproxy.gateway.wire.eras import LATEST_MODERN, META_CAPABILITIES, META_CLIENT, META_VERSION

GONE: Final = (ConnectionError, asyncio.IncompleteReadError, OSError)


class Client:
    """One keep-alive connection, made when it is needed. `session` is its legacy session."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.session: str | None = None

    async def initialize(self, capabilities: dict[str, Any]) -> bool:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": {"name": "churn", "version": "1"},
        }
        status, headers, _ = await self.post({"id": 1, "method": "initialize", "params": params})
        self.session = headers.get("mcp-session-id")
        if status == 200 and self.session:
            await self.post({"method": "notifications/initialized"})
        return self.session is not None

    async def call(self, tool: str, request_id: int) -> int:
        """A tool call of the legacy era; its status."""
        params = {"name": tool, "arguments": {}}
        message = {"id": request_id, "method": "tools/call", "params": params}
        return (await self.post(message))[0]

    async def call_modern(self, method: str, params: dict[str, Any]) -> tuple[int, bytes]:
        """A request of the stateless era, by a client that can be asked; status and body."""
        message, headers = _modern(method, params)
        status, _, body = await self.post(message, headers)
        return status, body

    async def listen_modern(self) -> None:
        """Open a subscription of the stateless era; nobody reads it."""
        wanted = {"notifications": {"toolsListChanged": True}}
        message, headers = _modern("subscriptions/listen", wanted)
        await self.send("POST", headers, json.dumps({"jsonrpc": "2.0", **message}).encode())

    async def post(
        self, message: dict[str, Any], headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        await self.send("POST", headers or {}, body)
        return await self._answer()

    async def delete(self) -> None:
        await self.send("DELETE", {}, b"")
        await self._answer()
        self.session = None

    async def listen(self) -> None:
        """Open the GET stream; nobody reads it."""
        await self.send("GET", {"Accept": "text/event-stream"}, b"")

    async def send(self, method: str, headers: dict[str, str], body: bytes) -> None:
        """Send a request and do not wait for its answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        lines = {
            "Host": f"{self._host}:{self._port}",
            "X-API-Key": self._key,
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **({"Mcp-Session-Id": self.session} if self.session else {}),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer = self._streams[1]
        writer.write(f"{method} {self._path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await writer.drain()

    async def drop(self) -> None:
        """Go away without a word, whatever is under way."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
            with contextlib.suppress(*GONE):
                await streams[1].wait_closed()

    async def _answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; a stream is read to its end."""
        if self._streams is None:
            raise ConnectionError("dropped")
        reader = self._streams[0]
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
        }
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = b""
            while size := int(await _line(reader), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        return int(head[0].split()[1]), headers, body


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise asyncio.IncompleteReadError(line, None)
    return line


def _modern(method: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A request of the stateless era, and the headers that repeat what it says."""
    meta = {
        META_VERSION: LATEST_MODERN,
        META_CAPABILITIES: {"elicitation": {"form": {}}},
        META_CLIENT: {"name": "churn", "version": "1"},
    }
    headers = {"MCP-Protocol-Version": LATEST_MODERN, "Mcp-Method": method}
    if "name" in params:
        headers["Mcp-Name"] = params["name"]
    return {"id": 1, "method": method, "params": {**params, "_meta": meta}}, headers
