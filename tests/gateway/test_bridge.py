"""The stdio bridge: the endpoint over stdin and stdout, across restarts of the daemon."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.bridge import Bridge
from mcpproxy.gateway.local_http import Daemon
from tests.gateway.peers import http_server
from tests.gateway.world import KEY, Site, running
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
