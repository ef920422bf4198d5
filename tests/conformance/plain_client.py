"""A client of the old era that does nothing by itself: it sends what it is told and answers what it
is asked. What the SDKs' clients would mend or drop, mcpproxy must mend or drop here.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Self

import httpx2

from tests.peers.process import http

VERSION = "2025-11-25"
DEADLINE = 60.0
CAPABILITIES: dict[str, Any] = {
    "elicitation": {"form": {}, "url": {}},
    "sampling": {"tools": {}},
    "roots": {},
}

Members = dict[str, Any]


class AnsweredWithErrorError(Exception):
    """The server's JSON-RPC error; `error` is all of it."""

    def __init__(self, error: Members) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.error = error


class PlainClient:
    """One session at `url`. with PlainClient(url) as client: client.request("tools/list")"""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._ids = count(1)
        self.told = ""
        """The words of calls that failed."""
        self._http = http(DEADLINE, headers=dict(headers or {}))
        self._http.headers["accept"] = "application/json, text/event-stream"

    def __enter__(self) -> Self:
        answer = self.request(
            "initialize",
            {
                "protocolVersion": VERSION,
                "capabilities": CAPABILITIES,
                "clientInfo": {"name": "plain-client", "version": "1.0.0"},
            },
        )
        self._http.headers["mcp-protocol-version"] = answer["protocolVersion"]
        self._send({"method": "notifications/initialized"})
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def request(self, method: str, params: Members | None = None) -> Members:
        """The result; AnsweredWithErrorError otherwise."""
        number = next(self._ids)
        message = {"id": number, "method": method, **({"params": params} if params else {})}
        for got in self._send(message):
            if got.get("id") == number and "method" not in got:
                if "error" in got:
                    raise AnsweredWithErrorError(got["error"])
                result: Members = got["result"]
                return result
        raise AnsweredWithErrorError({"code": 0, "message": "the stream ended without an answer"})

    def call(self, name: str, arguments: Members | None = None) -> Members:
        result = self.request("tools/call", {"name": name, "arguments": arguments or {}})
        if result.get("isError"):
            self.told += json.dumps(result)
        return result

    def listed(self, what: str) -> list[Members]:
        """All pages of tools, resources or prompts."""
        found: list[Members] = []
        cursor: Members = {}
        while True:
            page = self.request(f"{what}/list", cursor)
            found += page[what]
            if not page.get("nextCursor"):
                return found
            cursor = {"cursor": page["nextCursor"]}

    def _send(self, message: Members) -> list[Members]:
        """The messages of the answer, the last of which may be the response."""
        with self._http.stream("POST", self._url, json={"jsonrpc": "2.0", **message}) as reply:
            if "mcp-session-id" in reply.headers:
                self._http.headers["mcp-session-id"] = reply.headers["mcp-session-id"]
            if "text/event-stream" in reply.headers.get("content-type", ""):
                return self._stream(reply)
            body = reply.read()
        return [json.loads(body)] if body.strip() else []

    def _stream(self, reply: httpx2.Response) -> list[Members]:
        """Answers what it is asked as it comes: the rest of the stream may wait for that."""
        got: list[Members] = []
        for data in events(reply):
            message: Members = json.loads(data)
            if "method" in message and "id" in message:
                self._send({"id": message["id"], **self._answer(message)})
            else:
                got.append(message)
        return got

    def _answer(self, asked: Members) -> Members:
        params = asked.get("params") or {}
        match asked["method"]:
            case "elicitation/create":
                return {"result": {"action": "accept", "content": filled_in(params)}}
            case "sampling/createMessage":
                said = {"type": "text", "text": "Words of a model"}
                return {"result": {"role": "assistant", "content": said, "model": "none"}}
            case "roots/list":
                return {"result": {"roots": [{"uri": "file:///work", "name": "work"}]}}
            case "ping":
                return {"result": {}}
            case other:
                return {"error": {"code": -32601, "message": f"Method not found: {other}"}}


def filled_in(params: Members) -> Members:
    """A form as a person leaves it who changes nothing: its defaults, and yes to what is asked."""
    usual: Members = {"boolean": True, "integer": 1, "number": 1.0, "array": []}
    properties: Members = (params.get("requestedSchema") or {}).get("properties", {})
    return {
        name: schema.get("default", usual.get(schema.get("type"), "words"))
        for name, schema in properties.items()
    }


def events(reply: httpx2.Response) -> Iterator[str]:
    """The data of each event of a stream that has any."""
    data: list[str] = []
    for line in reply.iter_lines():
        if line.startswith("data:"):
            data.append(line[5:].lstrip(" "))
        elif not line and data:
            joined = "\n".join(data)
            data = []
            if joined:
                yield joined
