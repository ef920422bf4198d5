"""The matrix's server on the Python SDK of the first generation, which ends at 2025-11-25.

python -m tests.matrix.sides.server_v1 --wire http|sse|stdio [--port PORT]
"""

from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import anyio
import mcp.types as types
from mcp.server.lowlevel.server import NotificationOptions, Server, request_ctx
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import McpError
from mcp.shared.message import ServerMessageMetadata
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.matrix.sides import offer, serving
from tests.matrix.sides.offer import Members, RefusedError, World

NAME: Final = "matrix-python-1"
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
REQUESTS: Final = {
    "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
    "elicitation/create": (types.ElicitRequest, types.ElicitResult),
    "roots/list": (types.ListRootsRequest, types.ListRootsResult),
}


def dump(model: Any) -> Members:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class MatrixServer(Server):
    """Says in its handshake what this SDK's own never says: subscriptions and changes."""

    def create_initialization_options(self, notification_options=None, experimental=None):
        options = super().create_initialization_options(
            notification_options or NotificationOptions(tools_changed=True), experimental
        )
        if options.capabilities.resources is not None:
            options.capabilities.resources.subscribe = True
        return options


class RequestSide:
    """One request; the client is asked on its stream."""

    def __init__(self, level: str) -> None:
        self._ctx = request_ctx.get()
        self._level = level

    @property
    def version(self) -> str:
        params = self._ctx.session.client_params
        return str(params.protocolVersion) if params else ""

    async def ask(self, method: str, params: Members) -> Members:
        kind, answered = REQUESTS[method]
        request = kind.model_validate({"method": method, "params": params})
        metadata = ServerMessageMetadata(related_request_id=self._ctx.request_id)
        session = self._ctx.session
        return dump(
            await session.send_request(types.ServerRequest(request), answered, metadata=metadata)
        )

    async def progress(self, done: int, total: int, message: str) -> None:
        token = self._ctx.meta.progressToken if self._ctx.meta else None
        if token is not None:
            await self._ctx.session.send_progress_notification(
                token, done, total, message, related_request_id=str(self._ctx.request_id)
            )

    async def log(self, level: str, data: str) -> None:
        if LEVELS.index(level) >= LEVELS.index(self._level):
            await self._ctx.session.send_log_message(
                level, data, logger="matrix", related_request_id=self._ctx.request_id
            )

    async def tools_changed(self) -> None:
        await self._ctx.session.send_tool_list_changed()

    async def updated(self, uri: str) -> None:
        await self._ctx.session.send_resource_updated(types.AnyUrl(uri))


class Offered:
    """The offer as this SDK's handlers."""

    def __init__(self) -> None:
        self.world = World()
        self.server = MatrixServer(NAME, version="1.0.0", instructions="For the matrix.")
        self._level = "debug"
        handlers = self.server.request_handlers
        handlers[types.ListToolsRequest] = self.list_tools
        handlers[types.CallToolRequest] = self.call_tool
        handlers[types.ListResourcesRequest] = self.list_resources
        handlers[types.ListResourceTemplatesRequest] = self.list_templates
        handlers[types.ReadResourceRequest] = self.read
        handlers[types.SubscribeRequest] = self.accept
        handlers[types.UnsubscribeRequest] = self.accept
        handlers[types.ListPromptsRequest] = self.list_prompts
        handlers[types.GetPromptRequest] = self.get_prompt
        handlers[types.CompleteRequest] = self.complete
        handlers[types.SetLevelRequest] = self.set_level

    async def list_tools(self, request: Any) -> types.ServerResult:
        found = types.ListToolsResult.model_validate(offer.tools(self.world))
        return types.ServerResult(found)

    async def call_tool(self, request: types.CallToolRequest) -> types.ServerResult:
        params = request.params
        meta = params.meta.model_dump(exclude_none=True) if params.meta else {}
        side = RequestSide(self._level)
        with refusals():
            found = await offer.call(side, self.world, params.name, params.arguments, meta)
        return types.ServerResult(types.CallToolResult.model_validate(found))

    async def list_resources(self, request: types.ListResourcesRequest) -> types.ServerResult:
        found = offer.resources(request.params.cursor if request.params else None)
        return types.ServerResult(types.ListResourcesResult.model_validate(found))

    async def list_templates(self, request: Any) -> types.ServerResult:
        found = types.ListResourceTemplatesResult.model_validate(offer.templates())
        return types.ServerResult(found)

    async def read(self, request: types.ReadResourceRequest) -> types.ServerResult:
        with refusals():
            found = offer.read(str(request.params.uri), -32002)
        return types.ServerResult(types.ReadResourceResult.model_validate(found))

    async def accept(self, request: Any) -> types.ServerResult:
        return types.ServerResult(types.EmptyResult())

    async def list_prompts(self, request: Any) -> types.ServerResult:
        return types.ServerResult(types.ListPromptsResult.model_validate(offer.prompts()))

    async def get_prompt(self, request: types.GetPromptRequest) -> types.ServerResult:
        with refusals():
            found = offer.prompt(request.params.name, request.params.arguments)
        return types.ServerResult(types.GetPromptResult.model_validate(found))

    async def complete(self, request: types.CompleteRequest) -> types.ServerResult:
        argument = request.params.argument
        found = offer.complete(dump(request.params.ref), argument.name, argument.value)
        return types.ServerResult(types.CompleteResult.model_validate(found))

    async def set_level(self, request: types.SetLevelRequest) -> types.ServerResult:
        self._level = request.params.level
        return types.ServerResult(types.EmptyResult())


@contextmanager
def refusals():
    """Turns the offer's refusals into this SDK's."""
    try:
        yield
    except RefusedError as error:
        what = types.ErrorData(code=error.code, message=error.message, data=error.data)
        raise McpError(what) from None


async def over_stdio(offered: Offered) -> None:
    serving.dies_when_forgetting(offered.world)
    async with stdio_server() as (reader, writer):
        options = offered.server.create_initialization_options()
        await offered.server.run(reader, writer, options)


def over_sse(offered: Offered) -> serving.App:
    transport = SseServerTransport("/messages/")
    server = offered.server

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        async with transport.connect_sse(scope, receive, send) as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())

    return serving.with_streams_cut(offered.world, stream, transport.handle_post_message)


def over_http(offered: Offered) -> serving.App:
    manager = StreamableHTTPSessionManager(app=offered.server)

    @asynccontextmanager
    async def lifespan(app: Starlette):
        async with manager.run():
            yield

    app = Starlette(routes=[Mount("/mcp", app=manager.handle_request)], lifespan=lifespan)
    return serving.with_sessions_lost(offered.world, slashed(app))


def slashed(app: Any) -> serving.App:
    """A Mount wants a slash at the end, clients do not send one."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/mcp":
            scope = {**scope, "path": "/mcp/", "raw_path": b"/mcp/"}
        await app(scope, receive, send)

    return wrapped


def main() -> None:
    options = serving.arguments()
    offered = Offered()
    match options.wire:
        case "stdio":
            anyio.run(over_stdio, offered)
        case "sse":
            serving.serve(over_sse(offered), options.port)
        case _:
            serving.serve(over_http(offered), options.port)


if __name__ == "__main__":
    main()
