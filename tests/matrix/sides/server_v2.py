"""The matrix's server on the Python SDK of the second generation, in either era.

python -m tests.matrix.sides.server_v2 --wire http|sse|stdio --era legacy|modern [--port PORT]
"""

import json
import warnings
from typing import Any, Final, cast

import anyio
import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.conformance.fixture.eras import of_era
from tests.matrix.sides import offer, serving
from tests.matrix.sides.offer import Members, RefusedError, World

NAME: Final = "matrix-python-2"
Context = ServerRequestContext[Any]
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
REQUESTS: Final[dict[str, tuple[type[Any], type[types.Result]]]] = {
    "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
    "elicitation/create": (types.ElicitRequest, types.ElicitResult),
    "roots/list": (types.ListRootsRequest, types.ListRootsResult),
}


class AskFirstError(Exception):
    """A modern client must answer first."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("the client's answer is needed")
        self.result = result


class MatrixServer(Server[dict[str, Any]]):
    """Says in its handshake that its tools may change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        changing = NotificationOptions(tools_changed=True)
        return super().create_initialization_options(
            notification_options or changing, experimental_capabilities, extensions
        )


class RequestSide:
    """One request: of a client that is asked at once, or by having it come again."""

    def __init__(
        self, ctx: Context, bus: InMemorySubscriptionBus, level: str, given: Any = None
    ) -> None:
        self._ctx = ctx
        self._bus = bus
        self._level = level
        self._given = given
        self._asked = 0

    @property
    def version(self) -> str:
        return self._ctx.protocol_version

    @property
    def modern(self) -> bool:
        return self.version in MODERN_PROTOCOL_VERSIONS

    async def ask(self, method: str, params: Members) -> Members:
        kind, answered = REQUESTS[method]
        if self.modern:
            params = {k: v for k, v in params.items() if k != "elicitationId"}
            return self._heard(kind.model_validate({"method": method, "params": params}))
        request = kind.model_validate({"method": method, "params": params})
        metadata = ServerMessageMetadata(related_request_id=self._ctx.request_id)
        return dump(await self._ctx.session.send_request(request, answered, metadata=metadata))

    def _heard(self, request: Any) -> Members:
        """The client's answer; AskFirstError with what was heard before, as the state, if none."""
        before: list[Members] = json.loads(getattr(self._given, "request_state", None) or "[]")
        responses = getattr(self._given, "input_responses", None) or {}
        said = [*before, *(dump(each) for each in responses.values())]
        self._asked += 1
        if len(said) >= self._asked:
            return said[self._asked - 1]
        raise AskFirstError(
            types.InputRequiredResult(
                input_requests={f"question {self._asked}": request}, request_state=json.dumps(said)
            )
        )

    async def progress(self, done: int, total: int, message: str) -> None:
        await self._ctx.session.report_progress(done, total, message)

    async def log(self, level: str, data: str) -> None:
        if not self.modern and LEVELS.index(level) < LEVELS.index(self._level):
            return
        await self._ctx.session.send_log_message(
            cast(types.LoggingLevel, level),
            data,
            logger="matrix",
            related_request_id=self._ctx.request_id,
        )

    async def tools_changed(self) -> None:
        await self._bus.publish(ToolsListChanged())
        if not self.modern:
            await self._ctx.session.send_tool_list_changed()

    async def updated(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri=uri))
        if not self.modern:
            await self._ctx.session.send_resource_updated(uri)


def dump(model: Any) -> Members:
    members: Members = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    return members


class Offered:
    """The offer as this SDK's handlers."""

    def __init__(self, era: str) -> None:
        self.world = World()
        self._era = era
        self._bus = InMemorySubscriptionBus()
        self._level = "debug"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            self.server = self._server()
        security = RequestStateSecurity.ephemeral()
        self.server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
        self.server.middleware.append(knows_nothing_newer if era == "legacy" else knows_no_older)

    def _server(self) -> MatrixServer:
        return MatrixServer(
            NAME,
            version="1.0.0",
            instructions="For the matrix.",
            get_tool_input_schema=lambda name: next(
                (each["inputSchema"] for each, _ in offer.ALL if each["name"] == name), None
            ),
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read,
            on_subscribe_resource=self.accept,
            on_unsubscribe_resource=self.accept,
            on_subscriptions_listen=ListenHandler(self._bus),
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
            on_completion=self.complete,
            on_set_logging_level=self.set_level,
        )

    async def list_tools(self, ctx: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult.model_validate(offer.tools(self.world))

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        side = RequestSide(ctx, self._bus, self._level, params)
        meta = dict(cast(Members, params.meta or {}))
        try:
            result = await offer.call(side, self.world, params.name, params.arguments, meta)
        except AskFirstError as first:
            return first.result
        except RefusedError as refused:
            raise MCPError(refused.code, refused.message, refused.data) from None
        return types.CallToolResult.model_validate(result)

    async def list_resources(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        cursor = params.cursor if params else None
        return types.ListResourcesResult.model_validate(offer.resources(cursor))

    async def list_templates(self, ctx: Context, params: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult.model_validate(offer.templates())

    async def read(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        not_found = -32602 if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else -32002
        try:
            found = offer.read(str(params.uri), not_found)
        except RefusedError as refused:
            raise MCPError(refused.code, refused.message, refused.data) from None
        return types.ReadResourceResult.model_validate(found)

    async def accept(self, ctx: Context, params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    async def list_prompts(self, ctx: Context, params: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult.model_validate(offer.prompts())

    async def get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        try:
            found = offer.prompt(params.name, params.arguments)
        except RefusedError as refused:
            raise MCPError(refused.code, refused.message, refused.data) from None
        return types.GetPromptResult.model_validate(found)

    async def complete(
        self, ctx: Context, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        found = offer.complete(dump(params.ref), params.argument.name, params.argument.value)
        return types.CompleteResult.model_validate(found)

    async def set_level(
        self, ctx: Context, params: types.SetLevelRequestParams
    ) -> types.EmptyResult:
        self._level = params.level
        return types.EmptyResult()


async def knows_nothing_newer(ctx: Any, call_next: Any) -> Any:
    """A server of the old era has no `server/discover`, over stdio as well."""
    if ctx.method == "server/discover":
        raise MCPError(types.METHOD_NOT_FOUND, "Method not found")
    return await call_next(ctx)


async def knows_no_older(ctx: Any, call_next: Any) -> Any:
    """A server of the new era refuses a handshake, and says what it speaks."""
    if ctx.method == "initialize":
        raise MCPError(
            types.UNSUPPORTED_PROTOCOL_VERSION,
            "Unsupported protocol version",
            {"supported": [*MODERN_PROTOCOL_VERSIONS], "requested": ctx.protocol_version},
        )
    return await call_next(ctx)


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


def main() -> None:
    options = serving.arguments()
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    offered = Offered(options.era)
    match options.wire:
        case "stdio":
            anyio.run(over_stdio, offered)
        case "sse":
            serving.serve(over_sse(offered), options.port)
        case _:
            app = of_era(options.era, offered.server.streamable_http_app())
            serving.serve(serving.with_sessions_lost(offered.world, cast(Any, app)), options.port)


if __name__ == "__main__":
    main()
