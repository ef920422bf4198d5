"""One upstream by itself, without the side of the gateway that clients see."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from mcpproxy.core.connection import ConnectionState
from mcpproxy.core.model import Upstream
from mcpproxy.core.ports import Clock
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.eras import Forgetful, Memory
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.means import Means
from mcpproxy.gateway.session import Call, Sink
from mcpproxy.gateway.transports.guard import make_guard
from mcpproxy.gateway.transports.outbound import FROM_ENVIRONMENT
from mcpproxy.gateway.transports.web import WebClient
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members
from tests.gateway.world import FAST, NoTokens, RealClock, Recorder, until


@dataclass
class Person:
    """An Asker whose answers a test gives: by method, a result or an error; None never answers."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    asking: int = 0

    def streamed(self) -> None: ...

    def hung_up(self) -> None: ...

    async def ask(self, method: str, params: Raw | None) -> Members:
        self.asked.append((method, json.loads(bytes(params)) if params else None))
        answer: Any = self.answers.get(method)
        self.asking += 1
        try:
            if answer is None:
                await asyncio.Event().wait()
            if callable(answer):
                answer = await answer()
        finally:
            self.asking -= 1
        if "code" in answer:
            return jsonrpc.error(answer["code"], answer["message"])
        return jsonrpc.result(jsonrpc.raw(answer))


ABLE: dict[str, Any] = {"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {}}
ANNA = {
    "elicitation/create": {"action": "accept", "content": {"name": "Anna"}},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": "hello"},
        "model": "m",
    },
    "roots/list": {"roots": [{"uri": "file:///home/anna"}]},
}


def a_client(
    person: Person | None = None,
    *,
    era: Era = Era.LEGACY,
    able: Mapping[str, Any] | None = None,
    caller: str = "anna",
    **fields: Any,
) -> Client:
    declared = ABLE if able is None else able
    capabilities = {name: jsonrpc.raw(value) for name, value in declared.items()}
    return Client(era, f"{caller}-{id(person)}", capabilities, person, caller=caller, **fields)


@dataclass
class Lone:
    """The upstream, and what it said to whoever keeps it."""

    live: LiveUpstream
    heard: Recorder
    said: list[tuple[str, Any]] = field(default_factory=list)
    about: list[frozenset[str]] = field(default_factory=list)
    lists: int = 0

    def check(self, upstream: LiveUpstream, call: Call) -> None:
        """Every definition is as it was."""

    def listed(self, upstream: LiveUpstream) -> None:
        self.lists += 1

    def notified(
        self, upstream: LiveUpstream, method: str, message: Members, about: frozenset[str]
    ) -> None:
        self.said.append((method, json.loads(bytes(message.get("params", b"{}")))))
        self.about.append(about)

    @property
    def tools(self) -> set[str]:
        return {tool.name for tool in self.live.offer.tools}

    async def connected(self) -> None:
        await until(
            lambda: self.live.connection.state is ConnectionState.CONNECTED,
            lambda: (self.live.connection, self.heard.lines),
        )

    async def call(
        self, tool: str, client: Client | None = None, sink: Sink | None = None, **arguments: Any
    ) -> str:
        """The text of the tool's answer, or what its error says."""
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "t"}}
        given = jsonrpc.members(jsonrpc.raw(params))
        return text_of(await self.live.request(Call("tools/call", given, sink, client)))


def text_of(response: Members) -> str:
    if "error" in response:
        return str(json.loads(bytes(response["error"]))["message"])
    result = json.loads(bytes(response["result"]))
    return str(result["content"][0]["text"]) if "content" in result else json.dumps(result)


@asynccontextmanager
async def lone(
    upstream: Upstream,
    *,
    memory: Memory | None = None,
    limits: GatewayLimits = FAST,
    clock: Clock | None = None,
) -> AsyncIterator[Lone]:
    """The upstream `up`, being connected."""
    heard, guard, web = Recorder(), make_guard(), WebClient(limits, FROM_ENVIRONMENT)
    kept = memory or Forgetful()
    means = Means(NoTokens(), clock or RealClock(), heard, heard, limits, web, guard, kept)
    made = Lone.__new__(Lone)
    live = LiveUpstream(upstream, means, made)
    made.__init__(live, heard)  # type: ignore[misc]
    live.start()
    try:
        yield made
    finally:
        await live.stop("the test is over")
        await web.close()
        await guard.close()
