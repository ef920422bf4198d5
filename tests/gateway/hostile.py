"""Upstreams that misbehave: an MCP server whose every answer a test decides."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.gateway.world import serving, without_lifespan

TOOL = {"name": "echo", "description": "Say it back", "inputSchema": {"type": "object"}}


@dataclass(frozen=True)
class Raw:
    """An HTTP answer as it is; `chunks` makes it a stream that the server ends."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """One request that reached the server."""

    http_method: str
    method: str | None
    headers: Mapping[str, str]
    message: Mapping[str, Any]


Answer = Callable[[Seen], Awaitable[Raw | Mapping[str, Any] | None]]
"""An answer of the test's own: HTTP as it is, a result, or None for what is usual."""


@dataclass
class Scripted:
    """A minimal server; `answer` decides first, and `seen` is all that reached it."""

    answer: Answer | None = None
    tools: list[Any] = field(default_factory=lambda: [TOOL])
    session_id: str | None = "s1"
    seen: list[Seen] = field(default_factory=list)

    def count(self, method: str) -> int:
        return sum(1 for seen in self.seen if seen.method == method)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        parsed = json.loads(body) if body else {}
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        seen = Seen(scope["method"], parsed.get("method"), headers, parsed)
        self.seen.append(seen)
        said = await self.answer(seen) if self.answer is not None else None
        if said is None:
            said = self._usual(seen)
        if not isinstance(said, Raw):
            response = {"jsonrpc": "2.0", "id": parsed.get("id"), **said}
            said = Raw(body=json.dumps(response).encode())
        await _send(send, said, self.session_id if seen.method == "initialize" else None)

    def _usual(self, seen: Seen) -> Raw | Mapping[str, Any]:
        if seen.http_method != "POST":
            return Raw(405)
        if "id" not in seen.message:
            return Raw(202)
        match seen.method:
            case "initialize":
                return {
                    "result": {
                        "protocolVersion": seen.message["params"]["protocolVersion"],
                        "capabilities": {"tools": {"listChanged": True}},
                        "serverInfo": {"name": "scripted", "version": "1"},
                    }
                }
            case "tools/list":
                return {"result": {"tools": self.tools}}
            case "tools/call":
                words = json.dumps(seen.message["params"].get("arguments"))
                return {"result": {"content": [{"type": "text", "text": words}]}}
            case _:
                return {"result": {}}


async def _send(send: Any, raw: Raw, session_id: str | None) -> None:
    headers = [(b"content-type", raw.content_type.encode())]
    headers += [(k.lower().encode(), v.encode()) for k, v in raw.headers.items()]
    if session_id is not None:
        headers.append((b"mcp-session-id", session_id.encode("utf-8", "surrogateescape")))
    await send({"type": "http.response.start", "status": raw.status, "headers": headers})
    await send({"type": "http.response.body", "body": raw.body})


def event(message: Mapping[str, Any], *, id: str | None = None) -> bytes:
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}data: {json.dumps(message)}\n\n".encode()


@asynccontextmanager
async def scripted(server: Scripted) -> AsyncIterator[str]:
    async with serving(without_lifespan(server)) as origin:
        yield f"{origin}/mcp"
