"""A server with tasks on the Python SDK of the first generation, over stdio.

It offers what the reference server in TypeScript does: research as a task, which asks the person
what is meant when it is told that this is not clear.
"""

from typing import Any

import anyio
import mcp.types as types
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

TOOL = "simulate-research-query"
SCHEMA = {"type": "object", "properties": {"interpretation": {"type": "string"}}}

server: Any = Server("tasks-python-1")
server.experimental.enable_tasks()


@server.list_tools()
async def list_tools():
    execution = types.ToolExecution(taskSupport=types.TASK_REQUIRED)
    return [types.Tool(name=TOOL, inputSchema={"type": "object"}, execution=execution)]


@server.call_tool()
async def call(name, arguments):
    async def research(task):
        topic = arguments["topic"]
        if topic == "geese":
            await anyio.sleep_forever()  # until it is given up
        if arguments.get("ambiguous"):
            asked = await task.elicit(message="Which one?", requestedSchema=SCHEMA)
            topic += f" ({asked.content['interpretation']})"
        text = types.TextContent(type="text", text=f"# Research Report: {topic}")
        return types.CallToolResult(content=[text])

    return await server.request_context.experimental.run_task(research)


async def main() -> None:
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main)
