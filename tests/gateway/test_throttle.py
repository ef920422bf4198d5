"""What an upstream may say by itself, and what becomes of the rest."""

import sys
import time
from datetime import timedelta

import pytest

from mcpproxy.core.model import Upstream
from mcpproxy.gateway.throttle import LINES_AT_ONCE, Bucket, LineThrottle
from tests.gateway.world import running, until

FLOOD = """
import json, os, sys, threading
def flood():
    while True: os.write(2, b"noise " * 1000 + b"\\n")
threading.Thread(target=flood, daemon=True).start()
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    result = {"protocolVersion": message["params"].get("protocolVersion"),
              "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_what_it_has_and_fills_up_to_its_size() -> None:
    seconds = Seconds()
    bucket = Bucket(2.0, 10.0, seconds)
    assert bucket.take(10)
    assert not bucket.take(1)
    seconds.now = 0.5
    assert bucket.take(1)
    seconds.now = 1000.0
    assert bucket.take(10)
    assert not bucket.take(1)
    assert bucket.owe(4) == 2.0


@pytest.mark.anyio
async def test_lines_that_are_too_many_are_dropped_and_told_of() -> None:
    seconds, written = Seconds(), list[str]()
    throttle = LineThrottle(written.append, seconds, 0.01)
    for _ in range(int(LINES_AT_ONCE) * 2):
        throttle.line("")
    assert len(written) == LINES_AT_ONCE
    await until(lambda: len(written) > LINES_AT_ONCE)
    assert written[-1] == "1000 lines were dropped: more than 50 a second"
    seconds.now = 1.0
    throttle.line("again")
    throttle.tell()
    assert written[-1] == "again"


@pytest.mark.anyio
async def test_a_server_that_floods_its_stderr_costs_little_and_stops_at_once() -> None:
    upstream = Upstream("up", command=sys.executable, args=("-c", FLOOD))
    async with running(upstream) as site:
        await site.connected("up")
        lines = site.heard.lines
        await until(lambda: any("lines were dropped" in line for line in lines))
        used, since = time.process_time(), time.monotonic()
        await until(lambda: time.monotonic() - since > 1)
        assert time.process_time() - used < 0.4
        assert len(lines) < 200
        begun = time.monotonic()
        await site.gateway.stop()
        assert time.monotonic() - begun < timedelta(seconds=3).total_seconds()
