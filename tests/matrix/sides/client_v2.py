"""The matrix's client on the Python SDK of the second generation, in either era.

python -m tests.matrix.sides.client_v2 <JOB
"""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import anyio
import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.session import ClientRequestContext
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourceUpdated, Subscription, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.matrix.sides import trying
from tests.matrix.sides.talking import (
    MODERN,
    Connect,
    Event,
    Members,
    RefusedError,
    Talker,
    Target,
    answer,
)

LISTS = {
    "tools": "list_tools",
    "resources": "list_resources",
    "templates": "list_resource_templates",
    "prompts": "list_prompts",
}


def dump(model: Any) -> Members:
    members: Members = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    return members


async def refusing(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except MCPError as error:
        raise RefusedError(error.error.code, error.error.message, error.error.data) from error


class Connection:
    """A `Talker` of this SDK."""

    def __init__(self, client: Client, events: "asyncio.Queue[Event]", logs: list[Members]) -> None:
        self._client = client
        self._events = events
        self.logs = logs

    @property
    def _modern(self) -> bool:
        return self._client.protocol_version == MODERN

    async def listed(self, what: str, cursor: str | None) -> Members:
        fetch = getattr(self._client, LISTS[what])
        return dump(await refusing(fetch(cursor=cursor, cache_mode="bypass")))

    async def call(
        self,
        name: str,
        arguments: Members,
        *,
        meta: Members | None = None,
        progress: Callable[[float, float | None, str | None], Awaitable[None]] | None = None,
    ) -> Members:
        call = self._client.call_tool(
            name,
            arguments,
            meta=cast(types.RequestParamsMeta | None, meta),
            progress_callback=cast(Any, progress),
        )
        return dump(await refusing(call))

    async def call_cancelled(
        self, name: str, arguments: Members, when: Callable[[], Awaitable[None]]
    ) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.call, name, arguments)
            await when()
            group.cancel_scope.cancel()

    async def read(self, uri: str) -> Members:
        return dump(await refusing(self._client.read_resource(uri, cache_mode="bypass")))

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> Members:
        return dump(await refusing(self._client.get_prompt(name, dict(arguments))))

    async def complete(self, ref: Members, name: str, value: str) -> list[str]:
        kind = (
            types.PromptReference
            if ref["type"] == "ref/prompt"
            else types.ResourceTemplateReference
        )
        about = kind.model_validate(ref)
        found = await refusing(self._client.complete(about, {"name": name, "value": value}))
        values: list[str] = found.completion.values
        return values

    async def wants_logs(self, level: str) -> None:
        """A modern client says so with each request, from the beginning."""
        if not self._modern:
            await refusing(self._client.set_logging_level(cast(types.LoggingLevel, level)))

    @asynccontextmanager
    async def watching(self, *, uris: list[str]) -> AsyncIterator["asyncio.Queue[Event]"]:
        if not self._modern:
            for uri in uris:
                await refusing(self._client.subscribe_resource(uri))
            try:
                yield self._events
            finally:
                for uri in uris:
                    await refusing(self._client.unsubscribe_resource(uri))
            return
        events: asyncio.Queue[Event] = asyncio.Queue()
        listening = self._client.listen(tools_list_changed=True, resource_subscriptions=uris)
        async with listening as stream:
            reader = asyncio.create_task(put(stream, events))
            try:
                yield events
            finally:
                reader.cancel()


async def put(stream: Subscription, events: "asyncio.Queue[Event]") -> None:
    async for event in stream:
        match event:
            case ToolsListChanged():
                events.put_nowait(("tools", ""))
            case ResourceUpdated(uri=uri):
                events.put_nowait(("updated", str(uri)))
            case _:
                pass


async def asked_to_sample(
    context: ClientRequestContext, params: types.CreateMessageRequestParams
) -> types.CreateMessageResult:
    said = answer("sampling/createMessage", dump(params))
    return types.CreateMessageResult.model_validate(said)


async def asked_a_person(
    context: ClientRequestContext, params: types.ElicitRequestParams
) -> types.ElicitResult:
    return types.ElicitResult.model_validate(answer("elicitation/create", dump(params)))


async def asked_for_roots(context: ClientRequestContext) -> types.ListRootsResult:
    return types.ListRootsResult.model_validate(answer("roots/list", {}))


def connect(era: str, transport: str, key: str) -> Connect:
    @asynccontextmanager
    async def connected(target: Target) -> AsyncIterator[Talker]:
        events: asyncio.Queue[Event] = asyncio.Queue()
        logs: list[Members] = []

        async def heard(message: Any) -> None:
            match message:
                case types.ToolListChangedNotification():
                    events.put_nowait(("tools", ""))
                case types.ResourceUpdatedNotification():
                    events.put_nowait(("updated", str(message.params.uri)))
                case _:
                    pass

        async def logged(params: types.LoggingMessageNotificationParams) -> None:
            logs.append(dump(params))

        async with AsyncExitStack() as stack:
            client = Client(
                await opened(stack, target, transport, key),
                mode="legacy" if era == "legacy" else MODERN,
                sampling_callback=asked_to_sample,
                elicitation_callback=asked_a_person,
                list_roots_callback=asked_for_roots,
                logging_callback=logged,
                log_level="warning",
                message_handler=heard,
            )
            yield Connection(await stack.enter_async_context(client), events, logs)

    return connected


async def opened(stack: AsyncExitStack, target: Target, transport: str, key: str) -> Any:
    headers = {"X-API-Key": key}
    match transport:
        case "stdio":
            program, *arguments = target.command
            return stdio_client(
                StdioServerParameters(command=program, args=arguments, env=target.env)
            )
        case "sse":
            return sse_client(target.url, headers=headers)
        case _:
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=60))
            return streamable_http_client(target.url, http_client=http, max_sse_event_size=None)


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    trying.main(connect)
