"""An upstream's own log: bounded, private, harmless."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from mcpproxy.observability.redaction import Redactor
from mcpproxy.observability.upstream_log import KEPT_LINES, MAX_LINE, UpstreamLogs, log_path
from tests.web.stubs import ManualClock

pytestmark = pytest.mark.anyio


def logs(directory: Path) -> UpstreamLogs:
    return UpstreamLogs(directory, ManualClock(), Redactor())


async def test_lines_are_kept_in_memory_and_in_a_private_file(tmp_path: Path) -> None:
    made = logs(tmp_path / "logs")
    for number in range(3):
        made.write("one", f"line {number}\n")
    assert [line.split(" ", 1)[1] for line in made.tail("one", 2)] == ["line 1", "line 2"]
    assert made.tail("one", 0) == []
    assert made.tail("other", 5) == []
    path = tmp_path / "logs" / "server-one.log"
    assert path.read_text().splitlines() == list(made.tail("one", 3))
    assert path.read_text().startswith("2026-01-12T14:05:00.000Z line 0\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_new_run_goes_on_with_what_the_file_has(tmp_path: Path) -> None:
    first = logs(tmp_path)
    first.write("one", "before")
    first.close()
    second = logs(tmp_path)
    second.write("one", "after")
    assert [line.split(" ")[1] for line in second.tail("one", 10)] == ["before", "after"]


async def test_followers_get_what_comes_and_cost_a_bounded_queue(tmp_path: Path) -> None:
    made = logs(tmp_path)
    follow = made.follow("one")
    waiting = asyncio.ensure_future(anext(follow))
    await asyncio.sleep(0)
    for number in range(3000):
        made.write("one", f"line {number}")
    async with asyncio.timeout(10):
        got = [(await waiting)] + [await anext(follow) for _ in range(500)]
    assert len(got) == 501
    assert got[-1].split(" ")[2] > got[1].split(" ")[2]
    assert len(made.tail("one", 10**6)) == KEPT_LINES


async def test_hostile_lines_are_escaped_redacted_and_cut(tmp_path: Path) -> None:
    made = logs(tmp_path)
    made.write("one", "\x1b[2J\r\nfake\u202e refresh_token=canary123456 " + "x" * 10_000)
    (line,) = made.tail("one", 1)
    assert "\x1b" not in line
    assert "\n" not in line
    assert "\u202e" not in line
    assert "canary" not in line
    assert len(line) < MAX_LINE + 40


@pytest.mark.parametrize(
    "name", ["../../etc/x", "a/b", "C:\\x", ".", "CON.x", "Ünïcode", "A" * 300]
)
async def test_a_name_cannot_lead_out_of_the_directory(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "logs"
    made = logs(directory)
    made.write(name, "x")
    assert [path.parent for path in tmp_path.rglob("*.log")] == [directory]
    assert log_path(directory, name) != log_path(directory, name + "2")


async def test_a_disk_that_refuses_does_not_disturb_whoever_writes(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.write_text("a file where the directory should be")
    made = logs(directory)
    made.write("one", "still here")
    assert made.tail("one", 1)[0].endswith("still here")
    assert os.path.isfile(directory)
