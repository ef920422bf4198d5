"""What a routing mode is: the tools of one endpoint, listed and called."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Raw

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members


class Mode(Protocol):
    """`instructions` are for the client's model; `changes` is whether the tools ever change."""

    name: str
    instructions: str
    changes: bool

    async def tools(self, ask: Ask) -> Members:
        """The response to tools/list."""
        ...

    async def call(self, ask: Ask, name: str) -> Members:
        """The response to tools/call."""
        ...

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        """A notification of a client, for the upstreams."""
        ...

    def definition(self, caller: Caller, name: str) -> bytes | None:
        """An upstream's tool as it stands in the list, if it does."""
        ...


def tool_list(definitions: list[bytes]) -> bytes:
    return b'{"tools":[' + b",".join(definitions) + b"]}"


def text_result(*texts: str, meta: Mapping[str, object] | None = None) -> Members:
    """A block for each text; `meta` is for programs, models do not see it."""
    result: dict[str, object] = {"content": [{"type": "text", "text": text} for text in texts]}
    if meta is not None:
        result["_meta"] = meta
    return jsonrpc.result(jsonrpc.encode(result))


def text_error(text: str) -> Members:
    """An error that the model behind the client is to read and act on."""
    content = [{"type": "text", "text": text}]
    return jsonrpc.result(jsonrpc.encode({"content": content, "isError": True}))
