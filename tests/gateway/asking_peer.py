"""A legacy server over Streamable HTTP whose one tool asks its client whatever the call says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mcpproxy.core.model import Upstream
from tests.gateway.hostile import event
from tests.gateway.world import Site, running, serving, without_lifespan

TOOL = {"name": "ask", "description": "Ask the client", "inputSchema": {"type": "object"}}
FORM = {
    "method": "elicitation/create",
    "params": {
        "message": "Who are you?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
        "unknown": {"kept": [1, 2.50]},
    },
}
SAMPLE = {
    "method": "sampling/createMessage",
    "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "Capital of France?"}}],
        "maxTokens": 10,
    },
}
ROOTS = {"method": "roots/list"}
CAPABLE: dict[str, Any] = {
    "elicitation": {"form": {}, "url": {}},
    "sampling": {"tools": {}},
    "roots": {},
}


@dataclass
class AskingServer:
    """`calls` counts the calls it began, `told` are the notifications of its client, `answers`
    what it was answered, `tools` what it lists.
    """

    calls: int = 0
    tools: list[Any] = field(default_factory=lambda: [TOOL])
    told: list[Any] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    _waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] != "POST":
            return await _respond(send, 405, b"")
        said = json.loads(body)
        if "method" not in said:
            self.answers.append(said)
            self._waiting[said["id"]].set_result(said)
            return await _respond(send, 202, b"")
        if "id" not in said:
            self.told.append(said)
            return await _respond(send, 202, b"")
        if said["method"] == "tools/call":
            return await self._call(said, send)
        result = _RESULTS.get(said["method"])
        if said["method"] == "tools/list":
            result = {"tools": self.tools}
        if said["method"] == "initialize":
            result = {**_INTRODUCTION, "protocolVersion": said["params"]["protocolVersion"]}
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": said["id"]}
        if result is None:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        else:
            answer["result"] = result
        await _respond(send, 200, json.dumps(answer).encode())

    async def _call(self, said: Any, send: Any) -> None:
        self.calls += 1
        own = self.calls
        arguments = said["params"].get("arguments", {})
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def say(message: Any) -> None:
            chunk = event({"jsonrpc": "2.0", **message})
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        for note in arguments.get("say", ()):
            await say(note)
        heard: list[Any] = []
        for round_ in arguments.get("ask", ()):
            futures = []
            for number, question in enumerate(round_):
                key = f"u{own}-{len(heard)}-{number}"
                self._waiting[key] = asyncio.get_running_loop().create_future()
                futures.append(self._waiting[key])
                await say({"id": key, **question})
            answers = await asyncio.gather(*futures)
            heard += [
                {k: v for k, v in each.items() if k in ("result", "error")} for each in answers
            ]
        for note in arguments.get("say_after", ()):
            await say(note)
        if arguments.get("wait"):
            await asyncio.Event().wait()
        said_back = {"content": [{"type": "text", "text": json.dumps(heard)}]}
        await say({"id": said["id"], "result": said_back})
        await send({"type": "http.response.body", "body": b""})


_INTRODUCTION = {
    "capabilities": {"tools": {}, "logging": {}},
    "serverInfo": {"name": "asking", "version": "1"},
}
_RESULTS: dict[str, Any] = {"ping": {}, "logging/setLevel": {}}


async def _respond(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def asking_site(server: AskingServer | None = None, **fields: Any) -> AsyncIterator[Site]:
    """A gateway whose upstream `up` asks back."""
    async with (
        serving(without_lifespan(server or AskingServer())) as origin,
        running(Upstream("up", url=f"{origin}/mcp"), **fields) as site,
    ):
        await site.connected("up")
        yield site


def asking(request_id: Any, *rounds: Any, **more: Any) -> dict[str, Any]:
    """A call that asks all questions of a round at once, round after round."""
    arguments = {"ask": [list(each) for each in rounds], **more}
    params = {"name": "up__ask", "arguments": arguments}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def heard_in(answer: Any) -> Any:
    """What the upstream was answered, by the result of its tool."""
    return json.loads(answer["result"]["content"][0]["text"])
