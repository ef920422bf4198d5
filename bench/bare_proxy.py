"""The yardstick for Python: a reverse proxy that does nothing, on uvicorn and aiohttp."""

import sys
from typing import Any

import aiohttp
import uvicorn

_PASSED = (b"content-type", b"accept", b"mcp-session-id", b"mcp-protocol-version", b"mcp-method")


class BareProxy:
    def __init__(self, target: str) -> None:
        self._target = target
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self._session = self._session or aiohttp.ClientSession()
        event = await receive()
        headers = {n.decode(): v.decode() for n, v in scope["headers"] if n in _PASSED}
        url = self._target + scope["path"]
        async with self._session.post(url, data=event["body"], headers=headers) as answer:
            body = await answer.read()
        own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": own})
        await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        BareProxy(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
    )
