"""What a routing mode is: the tools of one endpoint, listed and called."""

from typing import Final, Protocol

from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

# Lists kept for as many kinds of callers; each is as long as all their tools.
_MAX_LISTS: Final = 32


class Mode(Protocol):
    """`instructions` are for the client's model; `changes` is whether the tools ever change."""

    name: str
    instructions: str
    changes: bool

    async def tools(self, caller: Caller) -> bytes:
        """The result of tools/list, as JSON."""
        ...

    async def call(self, ask: Ask, name: str) -> Members:
        """The response to tools/call."""
        ...


class Lists:
    """Results of tools/list by caller, for one revision of what they are made from."""

    def __init__(self) -> None:
        self._revision = -1
        self._lists: dict[Caller, bytes] = {}

    def get(self, caller: Caller, revision: int) -> bytes | None:
        if revision != self._revision or len(self._lists) >= _MAX_LISTS:
            self._revision, self._lists = revision, {}
        return self._lists.get(caller)

    def put(self, caller: Caller, definitions: list[bytes]) -> bytes:
        made = self._lists[caller] = tool_list(definitions)
        return made


def tool_list(definitions: list[bytes]) -> bytes:
    return b'{"tools":[' + b",".join(definitions) + b"]}"


def text_result(text: str) -> Members:
    return jsonrpc.result(b'{"content":[' + _text(text) + b"]}")


def text_error(text: str) -> Members:
    """An error that the model behind the client is to read and act on."""
    return jsonrpc.result(b'{"content":[' + _text(text) + b'],"isError":true}')


def _text(text: str) -> bytes:
    return b'{"type":"text","text":' + jsonrpc.encode(text) + b"}"
