"""Tools of all upstreams: list, search, call."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final

import msgspec

from mcpproxy.core.errors import UsageError
from mcpproxy.core.ports import ToolEntry
from mcpproxy.web.rest.endpoint import Call, NoBody, NoQuery, get, post
from mcpproxy.web.rest.servers import Name, find

MAX_CALL_SECONDS: Final = 600
"""Ten minutes: longer than any client of ours waits for one answer."""


class ToolItem(msgspec.Struct, frozen=True):
    """One tool; `definition` is the upstream's own JSON."""

    server: str
    name: str
    description: str
    definition: msgspec.Raw
    score: float | None = None


class Tools(msgspec.Struct, frozen=True):
    tools: list[ToolItem]


class ToolsQuery(msgspec.Struct, frozen=True):
    server: Annotated[str, msgspec.Meta(max_length=63)] | None = None


class SearchQuery(msgspec.Struct, frozen=True):
    q: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class CallTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`arguments` is passed on as it is; `timeout` is in seconds, without it as configured."""

    server: Name
    tool: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    timeout: Annotated[float, msgspec.Meta(gt=0, le=MAX_CALL_SECONDS)] | None = None


class ToolResult(msgspec.Struct, frozen=True):
    """`result` is the upstream's own JSON."""

    server: str
    tool: str
    result: msgspec.Raw


async def _list(call: Call[NoBody, ToolsQuery]) -> Tools:
    server = call.query.server
    if server is not None:
        find(call.parts, server)
    return _tools(call.parts.gateway.tools(server))


async def _of_server(call: Call[NoBody, NoQuery]) -> Tools:
    find(call.parts, call.name)
    return _tools(call.parts.gateway.tools(call.name))


async def _search(call: Call[NoBody, SearchQuery]) -> Tools:
    found = await call.parts.gateway.search_tools(call.query.q, call.query.limit)
    return Tools([_tool(entry, score) for entry, score in found])


async def _call(call: Call[CallTool, NoQuery]) -> ToolResult:
    body = call.body
    find(call.parts, body.server)
    given = body.arguments
    arguments = b"{}" if isinstance(given, msgspec.UnsetType) else bytes(given).strip()
    if not arguments.startswith(b"{"):
        raise UsageError(
            "The arguments of a tool are a JSON object.", next_step='Send them as {"name": value}.'
        )
    result = await call.parts.gateway.call_tool(
        body.server,
        body.tool,
        arguments,
        timeout=None if body.timeout is None else timedelta(seconds=body.timeout),
        request_id=call.request_id,
    )
    return ToolResult(body.server, body.tool, msgspec.Raw(result))


def _tools(entries: Sequence[ToolEntry]) -> Tools:
    return Tools([_tool(entry) for entry in entries])


def _tool(entry: ToolEntry, score: float | None = None) -> ToolItem:
    definition = msgspec.Raw(entry.definition)
    return ToolItem(entry.server, entry.name, entry.description, definition, score)


ENDPOINTS: Final = (
    get("/api/v1/tools", "List the tools of all servers", _list, Tools, ToolsQuery),
    get("/api/v1/tools/search", "Search all tools by words", _search, Tools, SearchQuery),
    post("/api/v1/tools/call", "Call a tool", _call, ToolResult, CallTool),
    get("/api/v1/servers/{name}/tools", "List a server's tools", _of_server, Tools, NoQuery),
)
