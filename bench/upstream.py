"""The MCP server to measure against: raw ASGI on uvicorn, uvloop and httptools, small answers.

`/legacy/mcp` and `/modern/mcp` speak one era each and `/both/mcp` what it is asked in; below
`/oauth` they want a login, below `/many` they have as many tools as the program was told. It is
its own provider, too.
"""

import json
import sys
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn

JSON = (b"content-type", b"application/json")
_TOKEN = "bench-" + "0123456789abcdef" * 3
_BEARER = (b"authorization", f"Bearer {_TOKEN}".encode())
_MODERN = "2026-07-28"
_VERSION = (b"mcp-protocol-version", _MODERN.encode())
_ABOUT = {"name": "echo", "version": "1"}
_CAPABILITIES: dict[str, Any] = {"tools": {}}
_META = {"io.modelcontextprotocol/serverInfo": _ABOUT}
_LEGACY_RESULTS: dict[str, dict[str, Any]] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": _CAPABILITIES,
        "serverInfo": _ABOUT,
    },
    "tools/call": {"content": [{"type": "text", "text": "hello"}]},
}
_COMPLETE = {"resultType": "complete", "_meta": _META}
_CACHE = {"ttlMs": 0, "cacheScope": "private"}
_MODERN_RESULTS: dict[str, dict[str, Any]] = {
    "server/discover": {
        **_COMPLETE,
        **_CACHE,
        "supportedVersions": [_MODERN],
        "capabilities": _CAPABILITIES,
        "serverInfo": _ABOUT,
    },
    "tools/call": {**_COMPLETE, **_LEGACY_RESULTS["tools/call"]},
}


class Upstream:
    """The ASGI application."""

    def __init__(self, origin: str, many: int) -> None:
        self._origin = origin
        self._tools = {False: [_tool("echo")], True: [_tool("echo"), *_many(many - 1)]}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        path: str = scope["path"]
        if not path.endswith("/mcp"):
            return await _send(send, *self._provider(path, scope, body))
        if path.startswith("/oauth") and _BEARER not in scope["headers"]:
            metadata = f"{self._origin}/.well-known/oauth-protected-resource{path}"
            challenge = f'Bearer resource_metadata="{metadata}"'.encode()
            return await _send(send, 401, {}, (b"www-authenticate", challenge))
        if scope["method"] != "POST":
            return await _send(send, 405, {})
        message = json.loads(body)
        if "id" not in message:
            return await _send(send, 202, None)
        modern = "/modern/" in path or ("/both/" in path and _VERSION in scope["headers"])
        await _send(send, *self._answer(message, self._tools["/many/" in path], modern))

    def _answer(
        self, message: dict[str, Any], tools: list[dict[str, Any]], modern: bool
    ) -> tuple[int, dict[str, Any]]:
        known = _MODERN_RESULTS if modern else _LEGACY_RESULTS
        method = message["method"]
        if method == "tools/list":
            result = {"tools": tools, **({**_COMPLETE, **_CACHE} if modern else {})}
        elif method == "ping" and not modern:
            result = {}
        elif method in known:
            result = known[method]
        else:
            error = {"code": -32601, "message": f"Method not found: {method}"}
            status = 404 if modern else 200
            return status, {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return 200, {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def _provider(self, path: str, scope: Any, body: bytes) -> tuple[Any, ...]:
        """A provider that takes everybody at once."""
        if path.startswith("/.well-known/oauth-protected-resource/"):
            resource = self._origin + path.removeprefix("/.well-known/oauth-protected-resource")
            return 200, {"resource": resource, "authorization_servers": [self._origin]}
        if path == "/.well-known/oauth-authorization-server":
            return 200, self._metadata()
        if path == "/register":
            return 201, {**json.loads(body), "client_id": "bench"}
        if path == "/authorize":
            asked = parse_qs(scope["query_string"].decode())
            back = {"code": "code", "state": asked["state"][0], "iss": self._origin}
            location = f"{asked['redirect_uri'][0]}?{urlencode(back)}"
            return 302, {}, (b"location", location.encode())
        if path == "/token":
            issued = {"access_token": _TOKEN, "refresh_token": "again", "expires_in": 36000}
            return 200, {**issued, "token_type": "Bearer"}
        return 404, {}

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self._origin,
            "authorization_endpoint": f"{self._origin}/authorize",
            "token_endpoint": f"{self._origin}/token",
            "registration_endpoint": f"{self._origin}/register",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
        }


async def _send(send: Any, status: int, content: Any, *headers: tuple[bytes, bytes]) -> None:
    body = b"" if content is None else json.dumps(content).encode()
    length = (b"content-length", b"%d" % len(body))
    start = {"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _tool(name: str, about: str = "Say it again") -> dict[str, Any]:
    schema = {"type": "object", "properties": {"text": {"type": "string", "description": "It"}}}
    return {
        "name": name,
        "description": about,
        "inputSchema": schema,
        "annotations": {"readOnlyHint": True},
    }


def _many(count: int) -> list[dict[str, Any]]:
    """Tools as large as usual ones, no two alike."""
    verbs = ("list", "get", "create", "update", "delete", "search", "move", "export")
    things = ("issue", "branch", "invoice", "page", "channel", "bucket", "contact", "build")
    tools = []
    for number in range(count):
        verb, thing = verbs[number % 8], things[number // 8 % 8]
        about = f"{verb.title()} a {thing} of workspace {number}, with its labels. " * 3
        tools.append(_tool(f"{verb}_{thing}_{number}", about))
    return tools


if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(
        Upstream(f"http://127.0.0.1:{port}", int(sys.argv[2])),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        timeout_keep_alive=3600,
    )
