"""The real web server on a free port, in a thread with its own event loop."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mcpproxy.config.listen import Listen
from mcpproxy.web.application import build_app
from mcpproxy.web.parts import WebParts
from mcpproxy.web.server import WebServer
from tests.web.stubs import KEY, World, web_parts


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Daemon:
    """Starts with `with`; `call` runs something in the daemon's loop."""

    def __init__(self, world: World, unix_socket: Path | None = None, **options: bool) -> None:
        self.world = world
        self.unix_socket = unix_socket
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.parts: WebParts
        self.server: WebServer

    def __enter__(self) -> "Daemon":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)

    def call(self, function: Callable[[], object]) -> None:
        async def run() -> None:
            function()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    async def _start(self) -> None:
        # What belongs to a loop is made inside of it.
        self.parts = web_parts(self.world, **self._options)
        self.server = WebServer(
            build_app(self.parts),
            Listen("127.0.0.1", 0),
            unix_socket=self.unix_socket,
            closing=self.parts.closing,
        )
        await self.server.start()

    async def _stop(self) -> None:
        await self.server.stop()

    @property
    def port(self) -> int:
        return self.server.listen.port

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = KEY,
        host: str | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Host": host or f"127.0.0.1:{self.port}", **(headers or {})}
        if key is not None:
            sent["X-API-Key"] = key
        payload = None
        if body is not None:
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, payload, sent)
            answer = connection.getresponse()
            return Reply(
                answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """Bytes in, all bytes out."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as peer:
            peer.sendall(data)
            answer = b""
            while chunk := peer.recv(65536):
                answer += chunk
            return answer
