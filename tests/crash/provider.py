"""An authorization server and the server behind it, as a program that keeps the truth.

`python -m tests.crash.provider PORT SEED LIFE GENERATIONS NAME...`: a token endpoint that rotates
at once and holds its answer back for a moment, and a small protected MCP server for each login.
Each fact is a line of JSON in /record, and goes to whoever reads /events, the moment it is one.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from tests.crash.ground import ACCEPTED, Ground, policies

A_YEAR: Final = 365 * 86400
CHALLENGE: Final = 'Bearer error="invalid_token"'


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP/1.1 request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Ways:
    """How it behaves: seconds an answer is held back (at least, at most), and a token's life.

    The answer to refresh number `generations` lives for a year, so that there is no further one.
    """

    hold: tuple[float, float] = (0.0, 0.0)
    life: float = 4.0
    generations: int = 0


class Provider:
    """Serves; `record` is all that happened."""

    def __init__(self, ground: Ground, ways: Ways, seed: int) -> None:
        self._ground = ground
        self._ways = ways
        self._random = random.Random(seed)
        self._record: list[bytes] = []
        self._readers: set[asyncio.StreamWriter] = set()
        self._presented = 0

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=512)
        async with server:
            await server.serve_forever()

    def _note(self, what: str, **facts: object) -> None:
        line = json.dumps({"what": what, "at": time.monotonic(), **facts}).encode() + b"\n"
        self._record.append(line)
        for reader in self._readers:
            reader.write(line)

    # --- HTTP ---------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for request in _requests(reader):
                if request.path == "/events":
                    self._readers.add(writer)
                    await reader.read()
                    return
                if request.path == "/token":
                    await self._token(request, reader, writer)
                    return
                await _answer(writer, *self._resource(request))
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._readers.discard(writer)
            writer.close()

    # --- the token endpoint -------------------------------------------------------------------

    async def _token(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        form = parse_qs(request.body.decode())
        decision = self._ground.present(form.get("refresh_token", [""])[0], time.monotonic())
        self._presented += 1
        number = self._presented
        self._note(
            "presented",
            number=number,
            grant=decision.grant,
            index=decision.index,
            verdict=decision.verdict.value,
            issued=decision.issued,
        )
        if decision.verdict in ACCEPTED:
            status, body = 200, self._tokens(decision.grant, decision.issued)
        else:
            status, body = 400, {"error": "invalid_grant"}
        if await self._hold(reader):
            await _answer(writer, status, body)
            self._note("answered", number=number)
        else:
            self._note("gone", number=number)

    def _tokens(self, grant: str, index: int) -> dict[str, object]:
        ways = self._ways
        life = self._random.uniform(0.75, 1.25) * ways.life
        return {
            "access_token": self._ground.access_token(grant, index),
            "refresh_token": self._ground.refresh_token(grant, index),
            "token_type": "Bearer",
            "expires_in": A_YEAR if 0 < ways.generations < index else life,
        }

    async def _hold(self, reader: asyncio.StreamReader) -> bool:
        """Hold the answer back; whether there is still somebody to give it to."""
        gone = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({gone}, timeout=self._random.uniform(*self._ways.hold))
        gone.cancel()
        return not done

    # --- the resource, and what a test asks ---------------------------------------------------

    def _resource(self, request: Request) -> tuple[int, Any]:
        match request.method, request.path.split("/")[1:]:
            case "GET", ["record"]:
                return 200, b"".join(self._record)
            case "POST", ["ways"]:
                for name, value in json.loads(request.body).items():
                    setattr(self._ways, name, value)
                return 200, {}
            case "POST", ["mcp", grant]:
                return self._mcp(grant, request)
            case _:
                return (405 if request.path.startswith("/mcp/") else 404), {}

    def _mcp(self, grant: str, request: Request) -> tuple[int, Any]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        owner = self._ground.owner(token)
        taken = owner is not None and owner[0] == grant
        self._note("used", grant=grant, index=owner[1] if owner else 0, taken=taken)
        if not taken:
            return 401, {}
        message = json.loads(request.body)
        if "id" not in message:
            return 202, {}
        return 200, {"jsonrpc": "2.0", "id": message["id"], **_reply(grant, message)}


def _reply(grant: str, message: dict[str, Any]) -> dict[str, Any]:
    tool = {
        "name": "whoami",
        "description": "Whose login it is.",
        "inputSchema": {"type": "object"},
    }
    match message["method"]:
        case "initialize":
            return {
                "result": {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": grant, "version": "1"},
                }
            }
        case "tools/list":
            return {"result": {"tools": [tool]}}
        case "tools/call":
            return {"result": {"content": [{"type": "text", "text": grant}]}}
        case "ping":
            return {"result": {}}
        case method:
            return {"error": {"code": -32601, "message": f"no {method} here"}}


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[Request]:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        yield Request(method, path, headers, body)


async def _answer(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    challenge = f"WWW-Authenticate: {CHALLENGE}\r\n" if status == 401 else ""
    writer.write(
        f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{challenge}"
        f"Content-Length: {len(content)}\r\n\r\n".encode()
        + content
    )
    await writer.drain()


def main(port: str, seed: str, life: str, generations: str, *names: str) -> None:
    ways = Ways(life=float(life), generations=int(generations))
    ground = Ground(int(seed), policies(names))
    asyncio.run(Provider(ground, ways, int(seed)).serve(int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
