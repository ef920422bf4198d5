"""What a call is sent to: a URL, the headers of its wire, the tool and how it is named there."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx2

from bench.load import FIRST_ID
from tests.peers.process import http


class Wire(StrEnum):
    """The two eras of the protocol."""

    LEGACY = "2025-11-25"
    MODERN = "2026-07-28"


@dataclass(frozen=True, slots=True)
class Target:
    """`tool` is the name there; with `through` it is called by that built-in tool of ours.

    `pids` are the processes whose work counts as the proxy's.
    """

    name: str
    url: str
    tool: str = "echo"
    through: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pids: tuple[int, ...] = ()

    def job(self, wire: Wire) -> dict[str, Any]:
        """What the load generator needs; in the legacy era this begins a session."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": wire.value,
            **self.headers,
        }
        given: dict[str, Any] = {"text": "hello"}
        params: dict[str, Any] = {"name": self.tool, "arguments": given}
        if self.through is not None:
            params = {"name": self.through, "arguments": {"name": self.tool, "args": given}}
        if wire is Wire.MODERN:
            headers |= {"Mcp-Method": "tools/call", "Mcp-Name": params["name"]}
            params["_meta"] = _ENVELOPE
        else:
            headers |= self._session(headers)
        return self._written(headers, params)

    def _session(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        params = {
            "protocolVersion": Wire.LEGACY.value,
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        with http(30.0) as client:
            answer = _posted(client, self.url, message, headers)
            session = answer.headers.get("mcp-session-id")
            own = {} if session is None else {"Mcp-Session-Id": session}
            note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            _posted(client, self.url, note, {**headers, **own})
        return own

    def _written(self, headers: Mapping[str, str], params: Mapping[str, Any]) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": FIRST_ID, "method": "tools/call", "params": params}
        body = json.dumps(message, separators=(",", ":"))
        parts = urlsplit(self.url)
        lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", body]
        head, tail = "\r\n".join(lines).encode().split(b"%d" % FIRST_ID, 1)
        request = [base64.b64encode(part).decode() for part in (head, tail)]
        return {"host": parts.hostname, "port": parts.port, "request": request}


_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": Wire.MODERN.value,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}


def _posted(
    client: httpx2.Client, url: str, message: Mapping[str, Any], headers: Mapping[str, str]
) -> httpx2.Response:
    answer = client.post(url, json=message, headers=dict(headers))
    assert answer.status_code < 300, f"{url} answered {answer.status_code}: {answer.text[:500]}"
    return answer
