"""The matrix's client on the Python SDK of the first generation.

python -m tests.matrix.sides.client_v1 <JOB
"""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import mcp.types as types
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl

from tests.matrix.sides import trying
from tests.matrix.sides.talking import Connect, Event, Members, RefusedError, Target, answer


def dump(model: Any) -> Members:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def refusing(call: Any) -> Any:
    try:
        return await call
    except McpError as error:
        raise RefusedError(error.error.code, error.error.message, error.error.data) from error


class Connection:
    """A `Talker` of this SDK."""

    def __init__(self, session: ClientSession, events: Any, logs: list[Members]) -> None:
        self._session = session
        self._events = events
        self.logs = logs

    async def listed(self, what: str, cursor: str | None) -> Members:
        name = "list_resource_templates" if what == "templates" else f"list_{what}"
        params = types.PaginatedRequestParams(cursor=cursor)
        return dump(await refusing(getattr(self._session, name)(params=params)))

    async def call(self, name, arguments, *, meta=None, progress=None) -> Members:
        call = self._session.call_tool(name, arguments, progress_callback=progress, meta=meta)
        return dump(await refusing(call))

    async def call_cancelled(self, name, arguments, when) -> None:
        """This SDK sends no `notifications/cancelled` of itself."""
        number = self._session._request_id
        call = asyncio.create_task(self.call(name, arguments))
        await asyncio.sleep(0)  # it takes its number now
        await when()
        params = types.CancelledNotificationParams(requestId=number, reason="enough")
        said = types.CancelledNotification(params=params)
        await self._session.send_notification(types.ClientNotification(said))
        call.cancel()

    async def read(self, uri: str) -> Members:
        return dump(await refusing(self._session.read_resource(AnyUrl(uri))))

    async def prompt(self, name, arguments) -> Members:
        return dump(await refusing(self._session.get_prompt(name, dict(arguments))))

    async def complete(self, ref, name, value) -> list[str]:
        kind = (
            types.PromptReference
            if ref["type"] == "ref/prompt"
            else types.ResourceTemplateReference
        )
        about = kind.model_validate(ref)
        found = await refusing(self._session.complete(about, {"name": name, "value": value}))
        return found.completion.values

    async def wants_logs(self, level: str) -> None:
        await refusing(self._session.set_logging_level(level))

    @asynccontextmanager
    async def watching(self, *, uris):
        for uri in uris:
            await refusing(self._session.subscribe_resource(AnyUrl(uri)))
        try:
            yield self._events
        finally:
            for uri in uris:
                await refusing(self._session.unsubscribe_resource(AnyUrl(uri)))


async def asked_to_sample(ctx: Any, params: Any) -> types.CreateMessageResult:
    said = answer("sampling/createMessage", dump(params))
    return types.CreateMessageResult.model_validate(said)


async def asked_a_person(ctx: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult.model_validate(answer("elicitation/create", dump(params)))


async def asked_for_roots(ctx: Any) -> types.ListRootsResult:
    return types.ListRootsResult.model_validate(answer("roots/list", {}))


def connect(era: str, transport: str, key: str) -> Connect:
    @asynccontextmanager
    async def connected(target: Target):
        events: asyncio.Queue[Event] = asyncio.Queue()
        logs: list[Members] = []

        async def heard(message: Any) -> None:
            match getattr(message, "root", None):
                case types.ToolListChangedNotification():
                    events.put_nowait(("tools", ""))
                case types.ResourceUpdatedNotification(params=params):
                    events.put_nowait(("updated", str(params.uri)))

        async def logged(params: Any) -> None:
            logs.append(dump(params))

        async with AsyncExitStack() as stack:
            streams = await stack.enter_async_context(await opened(stack, target, transport, key))
            session = ClientSession(
                streams[0],
                streams[1],
                sampling_callback=asked_to_sample,
                elicitation_callback=asked_a_person,
                list_roots_callback=asked_for_roots,
                logging_callback=logged,
                message_handler=heard,
            )
            await stack.enter_async_context(session)
            await session.initialize()
            yield Connection(session, events, logs)

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
            http = await stack.enter_async_context(httpx.AsyncClient(headers=headers, timeout=60))
            return streamable_http_client(target.url, http_client=http)


if __name__ == "__main__":
    trying.main(connect)
