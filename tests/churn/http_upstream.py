"""A Streamable HTTP server that forgets its sessions and refuses everybody when it is told to."""

import asyncio
import json
from typing import Any, Final
from uuid import uuid4

from tests.churn.stdio_upstream import answer

JSON: Final = [(b"content-type", b"application/json")]


class ForgetfulServer:
    """An ASGI application at `url`. `forget` is a restart without a stop; while it is `failing` it
    answers 503.
    """

    def __init__(self) -> None:
        self.url = ""
        self.failing = False
        self._sessions: set[bytes] = set()

    def forget(self) -> None:
        self._sessions.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        session = dict(scope["headers"]).get(b"mcp-session-id")
        status, headers, answered = self._exchange(scope["method"], session, body)
        if b'"slow"' in body:
            await asyncio.sleep(0.2)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answered})

    def _exchange(
        self, method: str, session: bytes | None, body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if self.failing:
            return 503, [], b""
        if method == "DELETE":
            self._sessions.discard(session or b"")
            return 204, [], b""
        if method != "POST":
            return 405, [], b""
        message = json.loads(body)
        headers = list(JSON)
        if message["method"] == "initialize":
            session = uuid4().hex.encode()
            self._sessions.add(session)
            headers.append((b"mcp-session-id", session))
        elif session not in self._sessions:
            return (404 if session else 400), [], b""
        if "id" not in message:
            return 202, [], b""
        result = answer(message)
        said = (
            {"result": result}
            if result is not None
            else {"error": {"code": -32601, "message": "not known"}}
        )
        return 200, headers, json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode()
