"""The stdio bridge: the endpoint over stdin and stdout, across restarts of the daemon."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.bridge import Bridge
from mcpproxy.gateway.local_http import Daemon
from tests.gateway.asking_peer import CAPABLE, FORM, asking, asking_site, heard_in
from tests.gateway.by_hand import INITIALIZE
from tests.gateway.peers import http_server
from tests.gateway.test_asked_back import NAME, answer_to
from tests.gateway.test_listen import ID, TOOLS, listen, say
from tests.gateway.test_sessions_that_last import Runs
from tests.gateway.world import DEADLINE, KEY, Site, running, until
from tests.peers.mcp_client import connect_stdio, text
from tests.peers.process import ROOT

pytestmark = pytest.mark.anyio


def command(port_file: Path) -> list[str]:
    return [sys.executable, "-m", "tests.gateway.bridge_program", str(port_file)]


def announce(port_file: Path, site: Site | None) -> None:
    port_file.write_text("" if site is None else site.url.rsplit(":", 1)[1].split("/")[0])


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_a_client_works_over_stdio_and_across_a_restart_of_the_daemon(
    mode: str, tmp_path: Path
) -> None:
    port_file = tmp_path / "port"
    async with http_server() as url:
        upstream = Upstream("remote", url=url)
        async with running(upstream) as site:
            await site.connected("remote")
            announce(port_file, site)
            client_context = connect_stdio(command(port_file), cwd=ROOT, mode=mode)
            client = await client_context.__aenter__()
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "remote__echo" in names
            assert text(await client.call_tool("remote__echo", {"text": "one"})) == "one"
        announce(port_file, None)
        try:
            async with running(upstream) as site:
                await site.connected("remote")
                announce(port_file, site)
                assert text(await client.call_tool("remote__echo", {"text": "two"})) == "two"
                heard: list[float] = []

                async def on_progress(done: float, total: float | None, note: str | None) -> None:
                    heard.append(done)

                steps = await client.call_tool(
                    "remote__work", {"steps": 3}, progress_callback=on_progress
                )
                assert text(steps) == "done"
                assert heard == [1, 2, 3]
        finally:
            await client_context.__aexit__(None, None, None)


async def test_what_was_asked_before_stdin_closed_is_still_answered(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    async with http_server() as url, running(Upstream("remote", url=url)) as site:
        await site.connected("remote")
        announce(port_file, site)
        initialize = {"protocolVersion": "2025-06-18", "capabilities": {}}
        lines = [
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        ]
        stdin = io.BytesIO(b"not json\n" + b"".join(json.dumps(m).encode() + b"\n" for m in lines))
        stdout = io.BytesIO()
        port = int(port_file.read_text())
        await Bridge(lambda: Daemon("127.0.0.1", port, KEY), stdin, stdout).run()
    answers = [json.loads(line) for line in stdout.getvalue().splitlines()]
    assert answers[0]["error"]["code"] == -32700
    assert answers[1]["result"]["protocolVersion"] == "2025-06-18"
    assert {"remote__echo"} <= {tool["name"] for tool in answers[2]["result"]["tools"]}


async def test_a_wrong_key_is_the_answer_to_the_request(tmp_path: Path) -> None:
    async with running() as site:
        port = int(site.url.rsplit(":", 1)[1].split("/")[0])
        message = {"jsonrpc": "2.0", "id": "x", "method": "initialize", "params": {}}
        stdin, stdout = io.BytesIO(json.dumps(message).encode() + b"\n"), io.BytesIO()
        await Bridge(lambda: Daemon("127.0.0.1", port, "wrong"), stdin, stdout).run()
    answer = json.loads(stdout.getvalue())
    assert answer["id"] == "x"
    assert "X-API-Key" in answer["error"]["message"]


def test_the_bridge_loads_neither_a_web_client_nor_pydantic() -> None:
    program = (
        "import sys, mcpproxy.gateway.bridge;"
        "print([m for m in ('aiohttp', 'pydantic', 'sqlite3', 'uvicorn') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


class Piped:
    """A client of the bridge by hand, over pipes."""

    def __init__(self, find: Callable[[], Daemon | None]) -> None:
        inward, self._to = os.pipe()
        outward, self._from = os.pipe()
        self._stdin = os.fdopen(inward, "rb")
        self._stdout = os.fdopen(self._from, "wb")
        self._lines = os.fdopen(outward, "rb")
        self.bridge = Bridge(find, self._stdin, self._stdout)
        self.running = asyncio.create_task(self.bridge.run())

    async def say(self, message: Any) -> None:
        await asyncio.to_thread(os.write, self._to, json.dumps(message).encode() + b"\n")

    async def hear(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return json.loads(await asyncio.to_thread(self._lines.readline))

    async def end(self) -> None:
        os.close(self._to)
        await self.running
        for file in (self._stdin, self._stdout, self._lines):
            file.close()


@dataclass
class Where:
    """The daemon that runs now, if one does."""

    site: Site | None = None

    def find(self) -> Daemon | None:
        if self.site is None:
            return None
        return Daemon("127.0.0.1", int(self.site.url.rsplit(":", 1)[1].split("/")[0]), KEY)


@asynccontextmanager
async def piped(where: Where) -> AsyncIterator[Piped]:
    client = Piped(where.find)
    try:
        yield client
    finally:
        await client.end()


async def test_a_client_over_stdio_is_asked_back_and_its_answers_arrive() -> None:
    where = Where()
    async with asking_site() as where.site, piped(where) as client:
        params = {"protocolVersion": "2025-11-25", "capabilities": CAPABLE}
        await client.say({**INITIALIZE, "params": params})
        assert "result" in await client.hear()
        await client.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await client.say(asking(5, [FORM]))
        question = await client.hear()
        assert question["params"] == FORM["params"]
        await client.say(answer_to(question, NAME))
        assert heard_in(await client.hear()) == [NAME]


async def test_every_line_that_wants_an_answer_gets_one() -> None:
    where = Where()
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    ping = {"jsonrpc": "2.0", "method": "ping"}
    async with asking_site() as where.site, piped(where) as client:
        await client.say(INITIALIZE)
        assert "result" in await client.hear()
        await client.say([note, {**ping, "id": 11}])
        assert [each["id"] for each in await client.hear()] == [11]
        wrong: list[Any] = [{}, {**ping, "id": None}, [note, {}]]
        for message in wrong:
            await client.say(message)
            assert (await client.hear())["error"]["code"] == -32600
        await client.say([])
        assert (await client.hear())["error"]["code"] == -32700


async def test_a_session_over_stdio_goes_on_after_a_restart_with_a_request_cut_short() -> None:
    where, runs = Where(), Runs()
    async with piped(where) as client:
        async with runs.next() as where.site:
            params = {"protocolVersion": "2025-11-25", "capabilities": CAPABLE}
            await client.say({**INITIALIZE, "params": params})
            session = (await client.hear())["result"]
            await client.say(asking("cut", [FORM]))
            question = await client.hear()
        where.site = None
        async with runs.next() as where.site:
            # The request is lost, and its client hears it; the session is the same.
            heard = {}
            while "cut" not in heard:
                said = await client.hear()
                heard[said.get("id")] = said
            assert "error" in heard["cut"] or heard_in(heard["cut"])[0]["error"]
            await client.say(answer_to(question, NAME))
            await client.say(asking(6))
            while (said := await client.hear()).get("id") != 6:
                continue
            assert "result" in said
            assert len(where.site.gateway._down.sessions) == 1
        assert session["serverInfo"]["name"] == "mcpproxy"


async def test_a_subscription_over_stdio_outlives_the_daemon() -> None:
    where, runs = Where(), Runs()
    async with piped(where) as client:
        async with runs.next() as where.site:
            await client.say(listen(3, toolsListChanged=True))
            assert (await client.hear())["params"]["notifications"] == {"toolsListChanged": True}
            say(where.site, TOOLS)
            assert (await client.hear())["params"]["_meta"] == {ID: 3}
        where.site = None
        async with runs.next() as where.site:
            # What was missed meanwhile is not known, so the list may have changed.
            missed = await client.hear()
            assert (missed["method"], missed["params"]["_meta"]) == (TOOLS, {ID: 3})
            down = where.site.gateway._down
            assert len(down.listens) == 1
            cancel = {"method": "notifications/cancelled", "params": {"requestId": 3}}
            await client.say({"jsonrpc": "2.0", **cancel})
            await until(lambda: len(down.listens) == 0)
