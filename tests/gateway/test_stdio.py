"""Child processes as upstreams: their start, their words, their end, and that none is orphaned."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import UpstreamError
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.gateway.transports.process import safe_environment
from tests.gateway.world import Site, running, until
from tests.peers.process import ROOT

pytestmark = pytest.mark.anyio
TIMEOUT = timedelta(seconds=10)

# A server in a few lines, so that a test can change how it behaves.
SERVER = """
import json, os, sys, time
def say(message): sys.stdout.write(json.dumps(message) + "\\n"); sys.stdout.flush()
print("a banner that is not JSON", flush=True)
print("starting up", file=sys.stderr, flush=True)
open({started!r}, "a").write(str(os.getpid()) + "\\n")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    name = message["method"]
    if name == "initialize":
        result = {{"protocolVersion": message["params"]["protocolVersion"],
                  "capabilities": {{"tools": {{}}}}, "serverInfo": {{"name": "s", "version": "1"}}}}
    elif name == "tools/list":
        result = {{"tools": [{{"name": n, "inputSchema": {{"type": "object"}}}} for n in
                  ("env", "die", "stray", "cut", "nan", "echo")]}}
    else:
        tool = message["params"]["name"]
        arguments = message["params"].get("arguments", {{}})
        if tool == "die": print("out of cheese", file=sys.stderr, flush=True); os._exit(3)
        if tool == "cut": sys.stdout.write(
            '{{"jsonrpc":"2.0","id":%d,"result":{{"content":[{{"text":"\\\\ud83d"}}]}}}}\\n'
            % message["id"])
        if tool == "nan": sys.stdout.write(
            '{{"jsonrpc":"2.0","id":%d,"result":{{"content":NaN}}}}\\n' % message["id"])
        if tool == "stray": say({{"jsonrpc": "2.0", "id": 424242, "result": {{}}}})
        text = json.dumps(dict(os.environ) if tool == "env" else arguments)
        result = {{"content": [{{"type": "text", "text": text}}]}}
    say({{"jsonrpc": "2.0", "id": message["id"], "result": result}})
{after}
"""


def a_server(tmp_path: Path, *, after: str = "", **fields: object) -> Upstream:
    """A stdio upstream `up`; `after` is what it does once its stdin is closed."""
    program = tmp_path / "server.py"
    program.write_text(SERVER.format(started=str(tmp_path / "pids"), after=after))
    return Upstream("up", command=sys.executable, args=(str(program),), **fields)  # type: ignore[arg-type]


def pids(tmp_path: Path) -> list[int]:
    found = tmp_path / "pids"
    return [int(pid) for pid in found.read_text().split()] if found.exists() else []


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def call(site: Site, tool: str, arguments: object = None) -> str:
    given = json.dumps(arguments or {}).encode()
    result = await site.gateway.call_tool("up", tool, given, timeout=TIMEOUT)
    return str(json.loads(result)["content"][0]["text"])


async def test_many_calls_at_once_get_their_own_answers(tmp_path: Path) -> None:
    async with running(a_server(tmp_path)) as site:
        await site.connected("up")
        calls = [call(site, "echo", {"n": n}) for n in range(50)]
        assert await asyncio.gather(*calls) == [json.dumps({"n": n}) for n in range(50)]


async def test_a_child_sees_the_safe_environment_and_what_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "not for children")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    async with running(a_server(tmp_path, env={"TOKEN": Secret("for this one")})) as site:
        await site.connected("up")
        seen = json.loads(await call(site, "env"))
    assert seen["TOKEN"] == "for this one"
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["PATH"] == os.environ["PATH"]
    assert "SOME_API_KEY" not in seen


async def test_a_function_under_a_safe_name_does_not_reach_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LC_EVIL", "() { :; }; echo owned")
    assert "LC_EVIL" not in safe_environment()


async def test_what_it_writes_to_stderr_and_beside_the_protocol_is_kept(tmp_path: Path) -> None:
    async with running(a_server(tmp_path)) as site:
        await site.connected("up")
        await until(lambda: "up: stderr: starting up" in site.heard.lines)
        assert "up: stdout: a banner that is not JSON" in site.heard.lines


async def test_line_breaks_in_a_payload_do_not_break_the_framing(tmp_path: Path) -> None:
    async with running(a_server(tmp_path)) as site:
        await site.connected("up")
        given = b'{"a":\n1,\r\n"b":\n[\n2\n]}'
        result = await site.gateway.call_tool("up", "echo", given, timeout=TIMEOUT)
        text = json.loads(result)["content"][0]["text"]
        assert json.loads(text) == {"a": 1, "b": [2]}


async def test_an_answer_nobody_waits_for_is_dropped(tmp_path: Path) -> None:
    async with running(a_server(tmp_path)) as site:
        await site.connected("up")
        assert await call(site, "stray") == "{}"


async def test_text_that_was_cut_inside_a_character_passes(tmp_path: Path) -> None:
    async with running(a_server(tmp_path)) as site:
        await site.connected("up")
        assert await call(site, "cut") == "\ufffd"


async def test_an_answer_that_cannot_be_read_fails_its_call_at_once(tmp_path: Path) -> None:
    async with running(a_server(tmp_path)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match="not a JSON-RPC message: JSON is malformed"):
            await call(site, "nan")


async def test_a_handshake_that_cannot_be_read_says_so_and_not_that_time_is_up(
    tmp_path: Path,
) -> None:
    program = """for n in range(1, 99):
        input(); print('{"jsonrpc":"2.0","id":%d,"result":NaN}' % n, flush=True)"""
    async with running(Upstream("up", command=sys.executable, args=("-c", program))) as site:
        await until(lambda: site.gateway.connection("up").error is not None)
        connection = site.gateway.connection("up")
        assert "JSON is malformed" in (connection.error or "")
        assert connection.trouble is Trouble.NOT_MCP


async def test_a_process_that_dies_fails_its_call_and_starts_again(tmp_path: Path) -> None:
    async with running(a_server(tmp_path)) as site:
        await site.connected("up")
        with pytest.raises(UpstreamError, match=r"exit code 3: .*out of cheese"):
            await call(site, "die")
        assert await call(site, "echo", {"again": 1}) == '{"again": 1}'
        assert len(pids(tmp_path)) == 2


async def test_a_command_that_does_not_exist_says_so() -> None:
    async with running(Upstream("up", command="no-such-command-here")) as site:
        await until(lambda: site.gateway.connection("up").trouble is Trouble.COMMAND)
        connection = site.gateway.connection("up")
        assert connection.state is ConnectionState.ERROR
        assert connection.error == "command not found: no-such-command-here"
        with pytest.raises(UpstreamError, match="command not found") as raised:
            await call(site, "echo")
        assert "PATH" in raised.value.next_step


async def test_a_command_that_dies_at_once_shows_its_last_words() -> None:
    program = "import sys; sys.exit('TOKEN is not set')"
    async with running(Upstream("up", command=sys.executable, args=("-c", program))) as site:
        await until(lambda: site.gateway.connection("up").trouble is Trouble.COMMAND)
        error = site.gateway.connection("up").error
        assert error == "the process ended with exit code 1: TOKEN is not set"


def _troubled(connection: Callable[[], Connection]) -> bool:
    return connection().trouble is not None


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_command_that_exits_before_it_is_spoken_to_is_never_said_to_be_no_mcp_server(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    upstream = Upstream("up", command="/bin/sh", args=("-c", "echo bye >&2; exit 3"))

    async def errors() -> set[tuple[Trouble | None, str | None]]:
        seen = set()
        async with running(*(replace(upstream, name=f"up{n}") for n in range(12))) as site:
            for n in range(12):
                connection = partial(site.gateway.connection, f"up{n}")
                await until(partial(_troubled, connection))
                seen.add((connection().trouble, connection().error))
        return seen

    with asyncio.Runner(loop_factory=loop) as runner:
        seen = runner.run(errors())
    assert seen == {(Trouble.COMMAND, "the process ended with exit code 3: bye")}


async def test_a_working_dir_that_does_not_exist_is_a_configuration_trouble() -> None:
    upstream = Upstream("up", command=sys.executable, working_dir="/no/such/place")
    async with running(upstream) as site:
        await until(lambda: site.gateway.connection("up").trouble is Trouble.CONFIGURATION)
        assert "/no/such/place" in (site.gateway.connection("up").error or "")


@pytest.mark.parametrize(
    "fields",
    [
        {"args": ("a\0b",)},
        {"env": {"KEY": Secret("a\0b")}},
        {"env": {"A=B": Secret("x")}},
        {"working_dir": "/\0"},
        {"command": "a\0b"},
    ],
)
async def test_what_no_process_can_be_given_is_a_configuration_trouble(
    fields: dict[str, Any],
) -> None:
    async with running(Upstream("up", **{"command": sys.executable, **fields})) as site:
        await until(lambda: site.gateway.connection("up").error is not None)
        connection = site.gateway.connection("up")
        assert connection.trouble is Trouble.CONFIGURATION
        assert "internal error" not in (connection.error or "")


async def test_stopping_ends_a_server_that_ignores_both_eof_and_sigterm(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    async with running(a_server(tmp_path, after=stubborn)) as site:
        await site.connected("up")
    assert not alive(pids(tmp_path)[0])


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    program = tmp_path / "wrapper.py"
    inner = a_server(tmp_path, after="time.sleep(600)")
    program.write_text(
        "import subprocess, sys\n"
        f"sys.exit(subprocess.run([sys.executable, {inner.args[0]!r}]).returncode)\n"
    )
    async with running(Upstream("up", command=sys.executable, args=(str(program),))) as site:
        await site.connected("up")
    await until(lambda: not alive(pids(tmp_path)[0]))


PARENT = """
import asyncio, sys
from mcpproxy.core.model import Upstream
from tests.gateway.world import running
async def main():
    upstream = Upstream("up", command=sys.executable, args=({program!r},))
    async with running(upstream) as site:
        await site.connected("up")
        print("connected", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_no_child_survives_a_kill_9_of_its_parent(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    upstream = a_server(tmp_path, after=stubborn)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(program=upstream.args[0])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    try:
        assert await asyncio.to_thread(parent.stdout.readline) == b"connected\n"
        (child,) = pids(tmp_path)
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        end = time.monotonic() + 10
        while alive(child):
            assert time.monotonic() < end, "the child outlived its parent"
            await asyncio.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
