"""What the servers in Python share: their arguments, forgetting, and an application on a port."""

import argparse
import asyncio
import os
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import uvicorn

from tests.matrix.sides.offer import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Coroutine[Any, Any, None]]
App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

SOON = 0.1  # seconds: the answer of `forget` goes out first


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wire", choices=["http", "sse", "stdio"], required=True)
    parser.add_argument("--era", choices=["legacy", "modern"], default="legacy")
    parser.add_argument("--port", type=int, default=0)
    return parser.parse_args()


def serve(app: App, port: int) -> None:
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


def dies_when_forgetting(world: World) -> None:
    """Over stdio a session is a process."""

    def die() -> None:
        asyncio.get_running_loop().call_later(SOON, os._exit, 0)

    world.forget = die


def with_sessions_lost(world: World, app: App) -> App:
    """Every session that was seen before `forget` is answered as the protocol says: with a 404."""
    seen: set[bytes] = set()
    dead: set[bytes] = set()
    world.forget = lambda: dead.update(seen)

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        session = dict(scope.get("headers", ())).get(b"mcp-session-id")
        if session is not None and session not in dead:
            seen.add(session)
        if session not in dead:
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"Session not found"})

    return wrapped


def with_streams_cut(world: World, stream: App, post: App) -> App:
    """HTTP+SSE at /sse and /messages/. A session is a stream: forgetting cuts all that are open."""
    streams: set[asyncio.Future[None]] = set()

    def cut() -> None:
        for task in streams:
            asyncio.get_running_loop().call_later(SOON, task.cancel)

    world.forget = cut

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.startswith("/messages"):
            await post(scope, receive, send)
        elif path == "/sse" and scope["method"] == "GET":
            await until_cut(asyncio.ensure_future(stream(scope, receive, send)))
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"Nothing is here"})

    async def until_cut(task: "asyncio.Future[None]") -> None:
        streams.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            streams.discard(task)

    return app
