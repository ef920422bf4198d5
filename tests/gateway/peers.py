"""MCP servers on the official SDK, to stand behind the gateway in tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

from tests.gateway.world import serving


def make_server(name: str = "peer") -> MCPServer:
    """echo, add, progress, fail and grow: one tool for each thing that a call may do."""
    server = MCPServer(name, instructions=f"The {name} server.")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def echo(text: str) -> str:
        """Say the same text back."""
        return text

    @server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False))
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def work(steps: int, ctx: Context) -> str:
        """Report progress step by step."""
        for step in range(steps):
            await ctx.report_progress(step + 1, steps)
        return "done"

    @server.tool()
    def fail(reason: str) -> str:
        """Fail for the given reason."""
        raise ValueError(reason)

    @server.resource("memo://greeting")
    def greeting() -> str:
        """A greeting."""
        return "hello"

    @server.prompt()
    def review(code: str) -> str:
        """Ask for a review."""
        return f"Review this: {code}"

    return server


@asynccontextmanager
async def http_server(server: MCPServer | None = None, **options: Any) -> AsyncIterator[str]:
    """The URL of the server's Streamable HTTP endpoint."""
    made = server or make_server()
    async with serving(made.streamable_http_app(**options)) as origin:
        yield f"{origin}/mcp"


@asynccontextmanager
async def sse_server(server: MCPServer | None = None) -> AsyncIterator[str]:
    """The URL of the server's event stream, as 2024-11-05 had it."""
    made = server or make_server()
    async with serving(made.sse_app()) as origin:
        yield f"{origin}/sse"
