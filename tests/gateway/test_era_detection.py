"""What an upstream speaks is found out by what it says alone, and remembered."""

import asyncio
import json
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcpproxy.core.connection import ConnectionState, Trouble
from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.model import Transport, Upstream
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.eras import Forgetful
from tests.gateway.era_peers import modern_server
from tests.gateway.hostile import TOOL, Raw, Scripted, Seen, scripted
from tests.gateway.lone_upstream import Lone, a_client, lone
from tests.gateway.peers import make_server, sse_server
from tests.gateway.world import FAST, RealClock, until

pytestmark = pytest.mark.anyio
DISCOVER = "server/discover"
OWN = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}


def refused(code: int, **data: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "no", "data": data}}


def of_this_era(seen: Seen) -> bool:
    return seen.headers.get("mcp-protocol-version") == "2026-07-28"


def modern(seen: Seen) -> dict[str, Any] | Raw | None:
    """A minimal server of the stateless era alone."""
    if seen.method == DISCOVER:
        return {"result": OWN}
    if not of_this_era(seen):
        return Raw(400, b"no", "text/plain")
    return None


async def answering(server: Scripted, by: Any) -> None:
    async def answer(seen: Seen) -> Any:
        return by(seen)

    server.answer = answer


async def spoken(up: Lone) -> str:
    await up.connected()
    assert up.live.agreed is not None
    assert await up.call("echo", n=1) == '{"n": 1}'
    return up.live.agreed.version


# --- evidence ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        Raw(400, b"bad request", "text/plain"),
        Raw(404, b"<html>", "text/html"),
        Raw(405),
        Raw(200, b"<html>", "text/html"),
        Raw(200, b"{not json"),
        Raw(202),
        {"result": {}},
        {"result": {"supportedVersions": "2026-07-28"}},
        {"result": {"supportedVersions": ["2025-06-18"], "capabilities": {}}},
        {"result": {**OWN, "capabilities": []}},
        refused(-32601),
        refused(-32000),
        refused(-32022, supported=["2025-11-25"]),
    ],
)
async def test_whatever_only_an_older_server_says_leads_to_the_handshake(said: Any) -> None:
    server, memory = Scripted(), Forgetful()
    await answering(server, lambda seen: said if seen.method == DISCOVER else None)
    async with scripted(server) as url:
        async with lone(Upstream("up", url=url), memory=memory) as up:
            assert await spoken(up) == "2025-11-25"
        async with lone(Upstream("up", url=url), memory=memory) as up:
            assert await spoken(up) == "2025-11-25"
        assert (server.count(DISCOVER), server.count("initialize")) == (1, 2)


async def test_a_server_of_the_stateless_era_is_never_asked_for_a_handshake() -> None:
    server = Scripted()
    await answering(server, modern)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        assert await spoken(up) == "2026-07-28"
    assert server.count("initialize") == 0
    call = next(seen for seen in server.seen if seen.method == "tools/call")
    assert call.headers["mcp-protocol-version"] == "2026-07-28"
    assert (call.headers["mcp-method"], call.headers["mcp-name"]) == ("tools/call", "echo")
    assert (
        call.message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (refused(-32022, supported=["2031-01-01"]), "2031-01-01"),
        ({"result": {**OWN, "supportedVersions": ["2031-01-01"]}}, "2031-01-01"),
        (refused(-32021), "server/discover was refused"),
        (refused(-32020), "server/discover was refused"),
    ],
)
async def test_a_modern_server_that_is_none_for_us_says_why_and_is_asked_nothing_older(
    said: Any, words: str
) -> None:
    server = Scripted()
    await answering(server, lambda seen: said)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await until(lambda: words in (up.live.connection.error or ""))
    assert server.count("initialize") == 0


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
async def test_an_outage_is_no_evidence_and_a_modern_server_is_modern_after_it(status: int) -> None:
    server, memory, down = Scripted(), Forgetful(), [True]
    await answering(server, lambda seen: Raw(status) if down else modern(seen))
    async with scripted(server) as url, lone(Upstream("up", url=url), memory=memory) as up:
        await until(lambda: server.count(DISCOVER) >= 2)
        assert await memory.get_setting("era:up") is None
        down.clear()
        up.live.wake()
        assert await spoken(up) == "2026-07-28"


async def test_a_server_that_trips_over_a_method_it_does_not_know_works_but_teaches_nothing() -> (
    None
):
    server, memory = Scripted(), Forgetful()
    await answering(server, lambda seen: Raw(500) if seen.method == DISCOVER else None)
    async with scripted(server) as url, lone(Upstream("up", url=url), memory=memory) as up:
        assert await spoken(up) == "2025-11-25"
    assert await memory.get_setting("era:up") is None


async def test_a_server_that_is_silent_about_its_era_works_but_teaches_nothing() -> None:
    async def answer(seen: Seen) -> None:
        if seen.method == DISCOVER:
            await asyncio.sleep(60)

    server, memory = Scripted(answer), Forgetful()
    limits = replace(FAST, discover_timeout=timedelta(milliseconds=100))
    async with (
        scripted(server) as url,
        lone(Upstream("up", url=url), memory=memory, limits=limits) as up,
    ):
        assert await spoken(up) == "2025-11-25"
    assert await memory.get_setting("era:up") is None


@pytest.mark.parametrize(
    ("discover", "initialize"),
    [
        (Raw(500), Raw(400, b"no", "text/plain")),
        (Raw(500), Raw(405)),
        (Raw(500), refused(-32022)),
        (None, Raw(405)),
        (None, refused(-32601)),
    ],
)
async def test_who_only_refuses_what_is_older_is_not_called_no_server(
    discover: Any, initialize: Any
) -> None:
    async def answer(seen: Seen) -> Any:
        if seen.method != DISCOVER:
            return initialize
        if discover is None:
            await asyncio.sleep(60)
        return discover

    fast = replace(FAST, discover_timeout=timedelta(milliseconds=50))
    async with scripted(Scripted(answer)) as url, lone(Upstream("up", url=url), limits=fast) as up:
        await until(lambda: up.live.connection.state is ConnectionState.ERROR)
        wrong = Trouble.NETWORK if discover is None else Trouble.UPSTREAM
        assert up.live.connection.trouble is wrong
        assert (DISCOVER if discover is None else "500") in (up.live.connection.error or "")


# --- memory -----------------------------------------------------------------------------------


async def test_a_server_that_became_modern_is_found_out_at_its_first_refusal() -> None:
    server, memory = Scripted(), Forgetful()
    async with scripted(server) as url:
        async with lone(Upstream("up", url=url), memory=memory) as up:
            assert await spoken(up) == "2025-11-25"
        await answering(server, modern)
        async with lone(Upstream("up", url=url), memory=memory) as up:
            assert await spoken(up) == "2026-07-28"


def in_older_words(code: int, request_id: object) -> Raw:
    error = {"code": code, "message": "no"}
    said = {"jsonrpc": "2.0", "id": request_id, "error": error}
    return Raw(400, json.dumps(said).encode())


@pytest.mark.parametrize(
    "old", [in_older_words(-32000, None), in_older_words(-32600, "server-error"), refused(-32022)]
)
async def test_a_server_that_changes_its_era_while_connected_loses_no_call(old: Any) -> None:
    server = Scripted()
    await answering(server, modern)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        assert await spoken(up) == "2026-07-28"
        await answering(server, lambda seen: old if of_this_era(seen) else None)
        assert await spoken(up) == "2025-11-25"
        await answering(server, modern)
        assert await up.call("echo", n=2) == '{"n": 2}'


async def test_what_was_learned_is_about_one_address() -> None:
    one, two, memory = Scripted(), Scripted(), Forgetful()
    async with scripted(one) as url, scripted(two) as other:
        for place in (url, other):
            async with lone(Upstream("up", url=place), memory=memory) as up:
                await up.connected()
    assert two.count(DISCOVER) == 1


@dataclass
class Later(RealClock):
    """A wall clock that is ahead."""

    by: timedelta

    def now(self) -> datetime:
        return super().now() + self.by


async def test_what_was_learned_of_an_older_server_grows_old() -> None:
    server, memory = Scripted(), Forgetful()
    async with scripted(server) as url:
        for days, asked in ((0, 1), (6, 1), (8, 2), (0, 3)):
            clock = Later(timedelta(days=days))
            async with lone(Upstream("up", url=url), memory=memory, clock=clock) as up:
                await up.connected()
            assert server.count(DISCOVER) == asked


class Broken:
    """A vault that takes nothing."""

    async def get_setting(self, name: str) -> str | None:
        raise StoreUnavailable("busy")

    async def set_setting(self, name: str, value: str) -> None:
        raise StoreUnavailable("busy")


async def test_without_a_memory_everything_works() -> None:
    async with scripted(Scripted()) as url, lone(Upstream("up", url=url), memory=Broken()) as up:
        assert await spoken(up) == "2025-11-25"


async def test_a_memory_of_anything_else_is_none() -> None:
    memory = Forgetful()
    await memory.set_setting("era:up", '{"spoken": "latin"}')
    async with scripted(Scripted()) as url, lone(Upstream("up", url=url), memory=memory) as up:
        assert await spoken(up) == "2025-11-25"


async def test_an_event_stream_of_the_oldest_kind_is_remembered_too() -> None:
    memory = Forgetful()
    async with sse_server(make_server()) as url:
        for _ in range(2):
            async with lone(Upstream("up", url=url), memory=memory) as up:
                await up.connected()
                assert await up.call("echo", text="hi") == "hi"
    learned = json.loads(await memory.get_setting("era:up") or "{}")
    assert (learned["spoken"], learned["transport"]) == ("legacy", Transport.SSE)


# --- processes --------------------------------------------------------------------------------

PROCESS = """
import json, os, sys
open({started!r}, "a").write("x")
for line in sys.stdin:
    message = json.loads(line)
    method = message["method"]
    if "id" not in message: continue
    if method == "initialize": {initialize}
    elif method == "server/discover": {discover}
    elif method == "tools/list": result = {{"result": {{"tools": [{tool}]}}}}
    else:
        text = json.dumps(message["params"].get("arguments"))
        result = {{"result": {{"content": [{{"type": "text", "text": text}}]}}}}
    print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], **result}}), flush=True)
"""
HANDSHAKE = """result = {"result": {"protocolVersion": message["params"]["protocolVersion"],
        "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}}"""
REFUSES = 'result = {"error": {"code": -32601, "message": "Method not found"}}'
DISCOVERED = f"result = {{'result': {OWN!r}}}"


def a_process(tmp_path: Path, *, initialize: str, discover: str) -> Upstream:
    program = tmp_path / "server.py"
    program.write_text(
        PROCESS.format(
            started=str(tmp_path / "started"),
            initialize=initialize,
            discover=discover,
            tool=repr(TOOL),
        )
    )
    return Upstream("up", command=sys.executable, args=(str(program),))


def started(tmp_path: Path) -> int:
    return len((tmp_path / "started").read_text())


@pytest.mark.parametrize("discover", ["os._exit(1)", "continue", REFUSES])
async def test_an_older_process_never_hears_what_it_may_not_survive(
    tmp_path: Path, discover: str
) -> None:
    upstream = a_process(tmp_path, initialize=HANDSHAKE, discover=discover)
    async with lone(upstream) as up:
        assert await spoken(up) == "2025-11-25"
    assert started(tmp_path) == 1


async def test_a_modern_process_is_remembered_and_started_once_from_then_on(
    tmp_path: Path,
) -> None:
    memory, upstream = Forgetful(), a_process(tmp_path, initialize=REFUSES, discover=DISCOVERED)
    async with lone(upstream, memory=memory) as up:
        assert await spoken(up) == "2026-07-28"
    before = started(tmp_path)
    async with lone(upstream, memory=memory) as up:
        assert await spoken(up) == "2026-07-28"
    assert started(tmp_path) == before + 1


async def test_a_process_that_says_nothing_of_its_era_is_not_called_no_server(
    tmp_path: Path,
) -> None:
    limits = replace(FAST, connect_timeout=timedelta(seconds=1))
    upstream = a_process(tmp_path, initialize=REFUSES, discover="continue")
    async with lone(upstream, limits=limits) as up:
        await until(lambda: DISCOVER in (up.live.connection.error or ""))
        assert up.live.connection.trouble is not Trouble.NOT_MCP


async def test_a_process_that_became_older_is_found_out_though_it_dies_of_the_question(
    tmp_path: Path,
) -> None:
    memory, upstream = Forgetful(), a_process(tmp_path, initialize=REFUSES, discover=DISCOVERED)
    async with lone(upstream, memory=memory) as up:
        assert await spoken(up) == "2026-07-28"
    a_process(tmp_path, initialize=HANDSHAKE, discover="os._exit(1)")
    async with lone(upstream, memory=memory) as up:
        assert await spoken(up) == "2025-11-25"
    before = started(tmp_path)
    async with lone(upstream, memory=memory) as up:
        assert await spoken(up) == "2025-11-25"
    assert started(tmp_path) == before + 1


async def test_a_server_without_its_older_era_is_asked_for_it_once() -> None:
    seen: list[tuple[str, dict[str, str]]] = []
    async with modern_server(seen) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        for _ in range(3):
            assert await up.call("where", a_client(era=Era.LEGACY), place="x") == "x"
        asked = [method for method, _ in seen if method == "initialize"]
        assert len(asked) == 1  # what it says to one revision it would say to each


@pytest.mark.parametrize(
    "said", [refused(-32020), refused(-32022, supported=["2026-07-28"]), refused(-32601)]
)
async def test_a_refusal_that_no_other_version_would_change_is_asked_for_once(said: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, **said}).encode()
    server = Scripted()

    def answer(seen: Seen) -> Any:
        if seen.method == "initialize":
            return Raw(400, body.replace(b'"id": 1', b'"id": %d' % seen.message["id"]))
        return Raw(404) if seen.http_method == "GET" or seen.method == DISCOVER else None

    await answering(server, answer)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.live.tried()
        assert server.count("initialize") == 1
        assert up.live.connection.state is not ConnectionState.CONNECTED
