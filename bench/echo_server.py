"""The smallest MCP server that can be measured against: raw ASGI, one tool, a small answer."""

import json
import sys
from typing import Any

import uvicorn

TOOL = {"name": "echo", "description": "Say it again", "inputSchema": {"type": "object"}}
INITIALIZED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "echo", "version": "1"},
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    message = json.loads(body) if body else {}
    answer = b"" if "id" not in message else json.dumps(_answer(message)).encode()
    status = 200 if answer else (405 if scope["method"] == "GET" else 202)
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    results: dict[str, Any] = {
        "initialize": INITIALIZED,
        "tools/list": {"tools": [TOOL]},
        "tools/call": {"content": [{"type": "text", "text": "hello"}]},
    }
    return {"jsonrpc": "2.0", "id": message["id"], "result": results.get(message["method"], {})}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
