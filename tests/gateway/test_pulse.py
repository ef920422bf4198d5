"""Servers that break off an answer or give none: what is wrong with them, and what is not."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from mcpproxy.core.connection import ConnectionState, Trouble
from mcpproxy.core.errors import UpstreamTimedOut, UpstreamUnavailable
from mcpproxy.core.model import Upstream
from tests.gateway.by_hand import a_site
from tests.gateway.calls import TIMEOUT, call
from tests.gateway.hostile import Raw, Scripted, Seen
from tests.gateway.world import FAST, Site, running, until

pytestmark = pytest.mark.anyio

MOMENT = timedelta(milliseconds=150)
BROKEN = Raw(body=b": nothing follows\n\n", content_type="text/event-stream")

# It says that it began, and does nothing else while a file is there.
PROCESS = """
import json, pathlib, sys, time
began, busy = map(pathlib.Path, sys.argv[1:])
with began.open("a") as file: file.write("x")
def done(id, result): print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        version = message["params"]["protocolVersion"]
        done(id, {"protocolVersion": version, "capabilities": {"tools": {}},
             "serverInfo": {"name": "s", "version": "1"}})
    elif method == "tools/list": done(id, {"tools": [{"name": "echo", "inputSchema": {}}]})
    elif method == "tools/call":
        while busy.exists(): time.sleep(0.01)
        done(id, {"content": []})
    elif id is not None: done(id, {})
"""


async def test_a_broken_answer_is_no_broken_connection() -> None:
    breaks = {"is": True}

    async def answer(seen: Seen) -> Raw | None:
        return BROKEN if seen.method == "tools/call" and breaks["is"] else None

    async with a_site(server := Scripted(answer)) as site:
        for number in range(5):
            with pytest.raises(UpstreamUnavailable, match="ended without an answer"):
                await call(site)
            await until(lambda number=number: server.count("ping") == number + 1)
        breaks["is"] = False
        await call(site)
        assert site.gateway.connection("up").state is ConnectionState.CONNECTED
        assert server.count("initialize") == 1


@pytest.mark.parametrize("status", [404, 503])
async def test_a_server_that_is_gone_after_a_broken_answer_is_found_out_at_once(
    status: int,
) -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "ping":
            return Raw(status)
        return BROKEN if seen.method == "tools/call" else None

    async with a_site(server := Scripted(answer)) as site:
        with pytest.raises(UpstreamUnavailable, match="ended without an answer"):
            await call(site)
        await until(lambda: server.count("initialize") == 2)
        await site.connected("up")


@dataclass
class Child:
    """A process that may be busy, as `site` has it."""

    site: Site
    began: Path
    busy: Path

    @property
    def starts(self) -> int:
        return len(self.began.read_text())

    async def hang(self) -> None:
        """It is busy from now on, and a call has waited for it in vain."""
        self.busy.touch()
        with pytest.raises(UpstreamTimedOut):
            await call(self.site, timeout=MOMENT)


@asynccontextmanager
async def a_child(tmp_path: Path, silent_for: timedelta) -> AsyncIterator[Child]:
    program, began, busy = (tmp_path / name for name in ("busy.py", "began", "busy"))
    program.write_text(PROCESS)
    upstream = Upstream("up", command=sys.executable, args=(str(program), str(began), str(busy)))
    limits = replace(FAST, tcp_timeout=MOMENT, call_timeout=MOMENT, silent_for=silent_for)
    async with running(upstream, limits=limits) as site:
        await site.connected("up")
        yield Child(site, began, busy)


async def test_a_process_that_is_busy_is_shown_as_such_until_it_answers(tmp_path: Path) -> None:
    async with a_child(tmp_path, timedelta(minutes=5)) as child:
        await child.hang()
        connection = child.site.gateway.connection
        await until(lambda: connection("up").trouble is Trouble.SILENT)
        assert (connection("up").error or "").startswith("no answer to a ping for ")
        assert connection("up").tool_count == 1
        child.busy.unlink()
        await child.site.connected("up")
        await call(child.site, timeout=TIMEOUT)
        assert child.starts == 1


async def test_a_process_that_is_silent_for_too_long_is_begun_anew(tmp_path: Path) -> None:
    async with a_child(tmp_path, timedelta(0)) as child:
        await child.hang()
        await until(lambda: child.starts == 2)
        child.busy.unlink()
        await child.site.connected("up")
        await call(child.site, timeout=TIMEOUT)


async def test_a_process_that_is_at_work_on_a_call_is_left_its_time(tmp_path: Path) -> None:
    async with a_child(tmp_path, timedelta(0)) as child:
        child.busy.touch()
        long = asyncio.create_task(call(child.site, timeout=TIMEOUT))
        await until(lambda: child.site.gateway._pool.get("up")._awaited())
        await child.hang()
        # Shown twice: then it was asked twice, and not given up.
        shown = child.site.gateway.connection
        await until(lambda: shown("up").trouble is Trouble.SILENT)
        first = shown("up").error
        await until(lambda: shown("up").error != first)
        child.busy.unlink()
        await long
        assert child.starts == 1


async def test_a_wake_finds_out_at_once_about_a_server_that_is_only_watched() -> None:
    silent = {"is": True}

    async def answer(seen: Seen) -> Raw | None:
        if silent["is"] and seen.method in ("tools/call", "ping"):
            await asyncio.Event().wait()
        return None

    limits = replace(FAST, tcp_timeout=timedelta(seconds=1))
    async with a_site(server := Scripted(answer), limits=limits) as site:
        with pytest.raises(UpstreamTimedOut):
            await call(site, timeout=MOMENT)
        await until(lambda: server.count("ping") == 1)
        site.gateway.wake()
        await until(lambda: server.count("initialize") == 2)
        silent["is"] = False


async def test_a_call_that_only_took_too_long_says_nothing_of_its_server() -> None:
    async def answer(seen: Seen) -> Raw | None:
        if seen.method == "tools/call":
            await asyncio.Event().wait()
        return None

    async with a_site(server := Scripted(answer)) as site:
        with pytest.raises(UpstreamTimedOut):
            await call(site, timeout=MOMENT)
        await until(lambda: server.count("ping") == 1)
        await until(lambda: not site.gateway._pool.get("up")._pulse._watched)
        assert site.gateway.connection("up").state is ConnectionState.CONNECTED
