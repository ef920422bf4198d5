"""A server on the official SDK that has resources, templates, prompts, completion and logs.

It offers notes (`note://ID`, any of them readable, one listed) and a prompt; its tools make it say
something: that a note changed, that there is another prompt and note, or a line of its log.
"""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import mcp_types as types
from mcp.server.lowlevel.server import Server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.conformance.fixture.eras import of_era
from tests.conformance.fixture.server import EVERYTHING_CHANGES
from tests.gateway.world import serving

GREETING: Final = "note://greeting"
LINKED: Final = "note://linked"
FOLDER: Final = "folder://all/"


class _Server(Server[dict[str, Any]]):
    def create_initialization_options(self, *given: Any, **named: Any) -> Any:
        return super().create_initialization_options(EVERYTHING_CHANGES)


class Library:
    """`heard` are the levels of log that it was asked for, `watched` what is subscribed to."""

    def __init__(self, name: str, **lists: Any) -> None:
        self.name = name
        self.grown = False
        self.heard: list[str] = []
        self.watched: set[str] = set()
        self._bus = InMemorySubscriptionBus()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            self.server = _Server(
                name,
                instructions=f"The library of {name}.",
                on_list_tools=self._tools,
                on_call_tool=self._call,
                on_list_resources=self._resources,
                on_list_resource_templates=self._templates,
                on_read_resource=self._read,
                on_subscribe_resource=self._subscribe,
                on_unsubscribe_resource=self._unsubscribe,
                on_subscriptions_listen=ListenHandler(self._bus),
                on_list_prompts=self._prompts,
                on_get_prompt=self._prompt,
                on_completion=self._complete,
                on_set_logging_level=self._level,
                **lists,
            )

    async def _tools(self, ctx: Any, params: Any) -> types.ListToolsResult:
        names = ("link", "touch", "grow", "say")
        schema = {"type": "object"}
        read_only = types.ToolAnnotations(read_only_hint=True)
        return types.ListToolsResult(
            tools=[types.Tool(name=n, input_schema=schema, annotations=read_only) for n in names]
        )

    async def _call(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        said: types.ContentBlock = types.TextContent(text="done")
        is_legacy = ctx.session.protocol_version < "2026"
        match params.name:
            case "link":
                said = types.ResourceLink(uri=LINKED, name="linked")
            case "touch":
                uri = (params.arguments or {})["uri"]
                await self._bus.publish(ResourceUpdated(uri=uri))
                if is_legacy:
                    await ctx.session.send_resource_updated(uri)
            case "grow":
                self.grown = True
                await self._bus.publish(PromptsListChanged())
                await self._bus.publish(ResourcesListChanged())
                if is_legacy:
                    await ctx.session.send_prompt_list_changed()
                    await ctx.session.send_resource_list_changed()
            case _:
                level = (params.arguments or {})["level"]
                await ctx.session.send_log_message(level, "a line", "pen")
        return types.CallToolResult(content=[said])

    async def _resources(self, ctx: Any, params: Any) -> types.ListResourcesResult:
        uris = [GREETING, "note://new"] if self.grown else [GREETING]
        return types.ListResourcesResult(resources=[types.Resource(uri=u, name=u) for u in uris])

    async def _templates(self, ctx: Any, params: Any) -> types.ListResourceTemplatesResult:
        note = types.ResourceTemplate(uri_template="note://{id}", name="note")
        return types.ListResourceTemplatesResult(resource_templates=[note])

    async def _read(
        self, ctx: Any, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        if params.uri == FOLDER:
            uris = [FOLDER, GREETING]
        elif params.uri.startswith("note://"):
            uris = [params.uri]
        else:
            raise MCPError(code=-32002, message="No such note", data={"uri": params.uri})
        words = f"{params.uri} of {self.name}"
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, text=words) for uri in uris]
        )

    async def _subscribe(self, ctx: Any, params: types.SubscribeRequestParams) -> Any:
        self.watched.add(params.uri)
        return types.EmptyResult()

    async def _unsubscribe(self, ctx: Any, params: types.UnsubscribeRequestParams) -> Any:
        self.watched.discard(params.uri)
        return types.EmptyResult()

    async def _prompts(self, ctx: Any, params: Any) -> types.ListPromptsResult:
        names = ["review", "new"] if self.grown else ["review"]
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(name=name, arguments=[types.PromptArgument(name="what")])
                for name in names
            ]
        )

    async def _prompt(self, ctx: Any, params: types.GetPromptRequestParams) -> Any:
        what = (params.arguments or {}).get("what", "nothing")
        block = types.TextContent(text=f"{params.name} {what}, {self.name}")
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=block)])

    async def _complete(self, ctx: Any, params: types.CompleteRequestParams) -> Any:
        ref = params.ref
        of = ref.name if isinstance(ref, types.PromptReference) else ref.uri
        values = [f"{params.argument.value}, {of} of {self.name}"]
        return types.CompleteResult(completion=types.Completion(values=values))

    async def _level(self, ctx: Any, params: types.SetLevelRequestParams) -> Any:
        self.heard.append(params.level)
        return types.EmptyResult()

    @asynccontextmanager
    async def over_http(self, era: str = "both") -> AsyncIterator[str]:
        """The URL of its Streamable HTTP endpoint, as a server of one era or of both."""
        async with serving(of_era(era, self.server.streamable_http_app())) as origin:
            yield f"{origin}/mcp"
