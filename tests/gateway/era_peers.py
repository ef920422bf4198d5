"""SDK servers that ask their clients back, in one era or in both, over HTTP and stdio."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCRequest, SamplingMessage, TextContent
from pydantic import BaseModel, Field

from tests.gateway.world import serving

App = Callable[..., Awaitable[None]]
MODERN = "2026-07-28"


class Name(BaseModel):
    name: str


async def _who() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


def make_server() -> MCPServer:
    """`ask`, `sample` and `roots` ask on the spot, `need` before it begins; `where` has an argument
    that is a header, `told` says what it was told of its client, `touch` changes things.
    """
    server = MCPServer("both", instructions="Asks back.")

    @server.tool()
    async def ask(ctx: Context) -> str:
        """Ask on the spot."""
        answer = await ctx.elicit("Who are you?", Name)
        return answer.data.name if answer.action == "accept" else answer.action

    @server.tool()
    async def sample(ctx: Context) -> str:
        """Have something said by the client's model."""
        words = SamplingMessage(role="user", content=TextContent(type="text", text="hi"))
        said = await ctx.session.create_message([words], max_tokens=5)
        return said.content.text if isinstance(said.content, TextContent) else "?"

    @server.tool()
    async def roots(ctx: Context) -> str:
        """Say where the client works."""
        found = await ctx.session.list_roots()
        return ",".join(str(root.uri) for root in found.roots)

    @server.tool()
    def need(who: Annotated[Name, Resolve(_who)]) -> str:
        """Ask before it begins."""
        return who.name

    @server.tool()
    def where(place: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Place"})]) -> str:
        """Say the place back."""
        return place

    @server.tool()
    def told(ctx: Context) -> str:
        """Say what this request tells of its client."""
        able = ctx.client_capabilities
        info = ctx.session.client_params.client_info.name if ctx.session.client_params else ""
        return json.dumps([info, able.model_dump(exclude_none=True) if able else None])

    @server.tool()
    async def touch(ctx: Context) -> str:
        """Change a resource, and then the list of tools."""
        await ctx.notify_resource_updated("memo://touched")
        server.remove_tool("touch")
        await ctx.notify_tools_changed()
        return "touched"

    @server.tool()
    async def slow(ctx: Context) -> str:
        """Never come to an end."""
        await ctx.report_progress(1, 2)
        try:
            await anyio.sleep_forever()
        finally:
            STOPPED.append("slow")
        return ""

    @server.resource("memo://touched")
    def touched() -> str:
        """What `touch` changes."""
        return "touched"

    return server


STOPPED: list[str] = []
"""The calls of this process that were cancelled."""


def _refused(request_id: Any) -> dict[str, Any]:
    data = {"supported": [MODERN], "requested": "?"}
    return {
        "jsonrpc": "2.0",
        "id": request_id,
        "error": {"code": -32022, "message": "no", "data": data},
    }


def modern_only(app: App, seen: list[tuple[str, dict[str, str]]]) -> App:
    """The same without its older era; `seen` are the methods and headers of all requests."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        seen.append((headers.get("mcp-method", "?"), headers))
        if headers.get("mcp-protocol-version") == MODERN:
            return await app(scope, receive, send)
        body = json.dumps(_refused(None)).encode()
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 400, "headers": head})
        await send({"type": "http.response.body", "body": body})
        return None

    return wrapped


@asynccontextmanager
async def both_eras() -> AsyncIterator[str]:
    async with serving(make_server().streamable_http_app()) as origin:
        yield f"{origin}/mcp"


@asynccontextmanager
async def modern_server(seen: list[tuple[str, dict[str, str]]] | None = None) -> AsyncIterator[str]:
    app = make_server().streamable_http_app()
    async with serving(modern_only(app, [] if seen is None else seen)) as origin:
        yield f"{origin}/mcp"


async def run_modern_stdio() -> None:
    """The server over stdin and stdout, refusing the handshake."""
    server = make_server()._lowlevel_server
    async with stdio_server() as (read, write), anyio.create_task_group() as tasks:
        forward, filtered = anyio.create_memory_object_stream[Any](0)

        async def pump() -> None:
            async with forward:
                async for item in read:
                    message = item.message if isinstance(item, SessionMessage) else None
                    if isinstance(message, JSONRPCRequest) and message.method == "initialize":
                        error = ErrorData(**_refused(message.id)["error"])
                        answer = JSONRPCError(jsonrpc="2.0", id=message.id, error=error)
                        await write.send(SessionMessage(answer))
                    else:
                        await forward.send(item)

        tasks.start_soon(pump)
        await server.run(filtered, write, server.create_initialization_options())


if __name__ == "__main__":
    if sys.argv[1:] == ["modern"]:
        anyio.run(run_modern_stdio)
    else:
        make_server().run("stdio")
