"""What a client of the matrix is: its connection, its targets, and what it says when asked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

Members = dict[str, Any]
Event = tuple[str, str]
"""("tools", "") or ("updated", URI)."""

MODERN: Final = "2026-07-28"


class RefusedError(Exception):
    """A JSON-RPC error, as the SDK showed it."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{code}: {message} {data}")
        self.code = code
        self.message = message
        self.data = data


class Talker(Protocol):
    """One connection of an SDK's client; `answer` below answers what it is asked."""

    logs: list[Members]

    async def listed(self, what: str, cursor: str | None) -> Members: ...
    async def call(
        self,
        name: str,
        arguments: Members,
        *,
        meta: Members | None = None,
        progress: Callable[[float, float | None, str | None], Awaitable[None]] | None = None,
    ) -> Members: ...
    async def call_cancelled(
        self, name: str, arguments: Members, when: Callable[[], Awaitable[None]]
    ) -> None: ...
    async def read(self, uri: str) -> Members: ...
    async def prompt(self, name: str, arguments: Mapping[str, str]) -> Members: ...
    async def complete(self, ref: Members, name: str, value: str) -> list[str]: ...
    async def wants_logs(self, level: str) -> None: ...
    def watching(
        self, *, uris: list[str]
    ) -> AbstractAsyncContextManager["asyncio.Queue[Event]"]: ...


@dataclass(frozen=True)
class Target:
    """A server as it is found at one endpoint; in an aggregate its names begin with its own."""

    name: str
    features: list[str]
    version: str
    url: str = ""
    command: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    tool_prefix: str = ""
    uri_prefix: str = ""
    not_found: int = -32002
    refused_first: bool = False
    """Whether this client sees -32042: both ends must be of the old era."""

    def tool(self, name: str) -> str:
        return self.tool_prefix + name

    def uri(self, path: str) -> str:
        return f"{self.uri_prefix}matrix://{path}"


def answer(method: str, params: Members) -> Members:
    """What this client says when it is asked something."""
    if method == "sampling/createMessage":
        heard = params["messages"][0]["content"]
        text = (heard[0] if isinstance(heard, list) else heard)["text"]
        said = {"type": "text", "text": f"{text}!"}
        return {"role": "assistant", "content": said, "model": "duck", "stopReason": "endTurn"}
    if method == "roots/list":
        return {"roots": [{"uri": "file:///work/a", "name": "a"}, {"uri": "file:///work/b"}]}
    if params.get("mode") == "url":
        assert params["url"] == "https://example.com/go?a=1&b=2", params
        return {"action": "accept"}
    if params["message"] == "accept":
        return {"action": "accept", "content": {"name": "Ada Ü", "age": 36}}
    return {"action": params["message"]}


Connect = Callable[[Target], AbstractAsyncContextManager[Talker]]
