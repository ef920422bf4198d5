"""The log of activity: off the call's path, bounded, private, and quick to be lost gracefully."""

import contextlib
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from mcpproxy.core.activity import CallFilter
from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.model import Secret
from mcpproxy.core.notices import ItemAsked, ServersChanged, ToolCalled
from mcpproxy.observability import activity
from mcpproxy.observability.activity import ActivityLog, Retention
from mcpproxy.observability.activity_file import FILE, ActivityFile, microseconds
from mcpproxy.observability.redaction import REDACTED, Redactor

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
EVERYTHING = CallFilter()
FOR_LONG = Retention()


class HandClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.passed = timedelta(0)

    def now(self) -> datetime:
        return NOON + self.passed

    def elapsed(self) -> timedelta:
        return self.passed

    def suspended(self) -> timedelta:
        return timedelta(0)


def called(tool: str = "get", **more: object) -> ToolCalled:
    known = {"caller": "owner", "client": "claude 1.2", "request_id": "r-1"}
    return ToolCalled("github", tool, "ok", timedelta(milliseconds=12), **{**known, **more})  # type: ignore[arg-type]


def log_in(
    directory: Path, clock: HandClock, retention: Retention | None = FOR_LONG
) -> ActivityLog:
    return ActivityLog(ActivityFile(directory / FILE), clock, Redactor(), retention)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def log(tmp_path: Path, clock: HandClock) -> AsyncIterator[ActivityLog]:
    made = log_in(tmp_path, clock)
    made.start()
    yield made
    await made.close()


async def tools(log: ActivityLog, wanted: CallFilter = EVERYTHING, limit: int = 100) -> list[str]:
    return [each.tool for each in await log.calls(wanted, limit)]


async def test_a_call_is_there_as_soon_as_somebody_asks_with_all_that_is_known_of_it(
    log: ActivityLog,
) -> None:
    log.hear(called(bytes_in=3, bytes_out=99))
    log.hear(ServersChanged("github", "connected"))
    (found,) = await log.calls(EVERYTHING, 10)
    assert (found.at, found.server, found.tool, found.outcome) == (NOON, "github", "get", "ok")
    assert found.duration == timedelta(milliseconds=12)
    assert (found.caller, found.client, found.request_id) == ("owner", "claude 1.2", "r-1")
    assert (found.bytes_in, found.bytes_out, found.arguments) == (3, 99, None)


async def test_the_log_outlives_the_daemon_and_nothing_is_written_twice(
    tmp_path: Path, clock: HandClock
) -> None:
    for number in range(3):
        log = log_in(tmp_path, clock)
        log.start()
        log.hear(called(f"call-{number}"))
        assert len(await log.calls(EVERYTHING, 10)) == number + 1
        await log.close()
    log = log_in(tmp_path, clock)
    assert await tools(log) == ["call-2", "call-1", "call-0"]
    await log.close()


async def test_calls_are_found_by_everything_that_is_known_of_them(
    log: ActivityLog, clock: HandClock
) -> None:
    log.hear(called("a"))
    clock.passed = timedelta(hours=1)
    log.hear(ToolCalled("jira", "b", "denied", timedelta(0), "agent", "cursor 2", "r-2"))
    log.hear(called("c", client="claude-code 1"))
    for wanted, expected in (
        (CallFilter(server="jira"), ["b"]),
        (CallFilter(tool="a"), ["a"]),
        (CallFilter(outcome="denied"), ["b"]),
        (CallFilter(caller="agent"), ["b"]),
        (CallFilter(client="claude"), ["a"]),
        (CallFilter(client="cursor 2"), ["b"]),
        (CallFilter(request_id="r-1"), ["c", "a"]),
        (CallFilter(since=NOON + timedelta(minutes=1)), ["c", "b"]),
        (CallFilter(until=NOON + timedelta(minutes=1)), ["a"]),
        (CallFilter(before=2), ["a"]),
        (CallFilter(server="x' OR 1=1 --"), []),
    ):
        assert await tools(log, wanted) == expected, wanted
    assert await tools(log, limit=1) == ["c"]
    assert [each.tool for each in await log.calls_after(EVERYTHING, 1, 10)] == ["b", "c"]


def read(uri: str, method: str = "resources/read") -> ItemAsked:
    return ItemAsked("github", uri, "ok", timedelta(milliseconds=3), method)


async def test_what_is_no_tool_is_logged_by_its_method_without_known_secrets(
    tmp_path: Path, clock: HandClock
) -> None:
    redactor = Redactor()
    redactor.learn(Secret("canary-0123456789abcdef"))
    log = ActivityLog(ActivityFile(tmp_path / FILE), clock, redactor)
    log.hear(called())
    log.hear(read("file:///canary-0123456789abcdef/notes"))
    log.hear(read("", "shop/canary-0123456789abcdef"))
    made_up, asked, tool = await log.calls(EVERYTHING, 10)
    assert (asked.method, asked.tool) == ("resources/read", f"file:///{REDACTED}/notes")
    assert made_up.method == f"shop/{REDACTED}"
    assert (tool.method, tool.tool) == ("tools/call", "get")
    assert await tools(log, CallFilter(method="tools/call")) == ["get"]
    await log.close()


OLD = """
CREATE TABLE calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, server TEXT NOT NULL,
    tool TEXT NOT NULL, outcome TEXT NOT NULL, duration_us INTEGER NOT NULL, caller TEXT NOT NULL,
    client TEXT NOT NULL, request_id TEXT NOT NULL, bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL, arguments TEXT
) STRICT;
PRAGMA user_version = 1;
"""


async def test_a_log_of_before_there_were_methods_is_read_and_gone_on_with(
    tmp_path: Path, clock: HandClock
) -> None:
    with sqlite3.connect(tmp_path / FILE) as older:
        older.executescript(OLD)
        values = (microseconds(NOON), "github", "old", "ok", 5, "owner", "c", "r", 1, 2, "{}")
        older.execute("INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    older.close()
    before = (tmp_path / FILE).read_bytes()
    (looked,) = ActivityFile(tmp_path / FILE).look(CallFilter(method="tools/call"), 10)
    assert (looked.tool, looked.method, looked.arguments) == ("old", "tools/call", "{}")
    assert (tmp_path / FILE).read_bytes() == before  # a look changes nothing
    for _ in range(2):  # the second time it is not led on again
        log = log_in(tmp_path, clock)
        log.hear(read("a://b"))
        await log.calls(EVERYTHING, 10)
        await log.close()
    log = log_in(tmp_path, clock)
    found = [(each.tool, each.method) for each in await log.calls(EVERYTHING, 10)]
    await log.close()
    assert found == [("a://b", "resources/read")] * 2 + [("old", "tools/call")]


def test_an_older_log_that_two_open_at_once_is_led_on_once(tmp_path: Path) -> None:
    def looked(path: Path, together: Barrier) -> int:
        file = ActivityFile(path)
        together.wait()
        try:
            return len(file.newest(EVERYTHING, 10))
        finally:
            file.close()

    with ThreadPoolExecutor(2) as threads:
        for number in range(5):
            path, together = tmp_path / f"{number}.db", Barrier(2, timeout=20)
            with contextlib.closing(sqlite3.connect(path)) as older:
                older.executescript(OLD)
            both = [threads.submit(looked, path, together) for _ in range(2)]
            assert [each.result() for each in both] == [0, 0]


async def test_arguments_are_kept_only_where_they_come_and_never_with_a_secret(
    tmp_path: Path, clock: HandClock
) -> None:
    redactor = Redactor()
    redactor.learn(Secret("canary-0123456789abcdef"))
    log = ActivityLog(ActivityFile(tmp_path / FILE), clock, redactor)
    said = b'{"q": "canary-0123456789abcdef", "password": "hunter2hunter2"}'
    cut = b'{"a": "b", "c": "canary-0123456'
    log.hear(called(arguments=said, bytes_in=len(said)))
    log.hear(called(arguments=b'{"a": "' + b"x" * 100_000 + b'"}', bytes_in=100_009))
    log.hear(called(arguments=cut, bytes_in=9999))
    log.hear(called())
    nothing, halved, long, short = await log.calls(EVERYTHING, 10)
    await log.close()
    assert nothing.arguments is None
    assert halved.arguments == '{"a": "b", "c": "…'
    assert long.arguments == '{"a": "…'
    assert "canary" not in (short.arguments or "")
    assert "hunter2" not in (short.arguments or "")
    assert REDACTED in (short.arguments or "")
    assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


async def test_old_calls_go_by_age_and_by_count_and_by_size(
    tmp_path: Path, clock: HandClock
) -> None:
    log = log_in(tmp_path, clock, Retention(timedelta(days=1), max_records=5))
    log.hear(called("old"))
    assert await tools(log) == ["old"]
    clock.passed = timedelta(days=2)
    log.hear(called("new"))
    assert await tools(log) == ["new"]
    for number in range(9):
        log.hear(called(f"call-{number}"))
    clock.passed += timedelta(hours=1)
    assert await tools(log) == [f"call-{number}" for number in (8, 7, 6, 5, 4)]
    log.retention = Retention(max_bytes=64 * 1024)
    for number in range(100):
        log.hear(called(f"big-{number}", arguments=b"x" * 4096, bytes_in=4096))
    for _ in range(60):
        clock.passed += timedelta(hours=1)
        kept = await tools(log)
    assert 5 < len(kept) < 20
    assert kept[0] == "big-99"
    await log.close()


async def test_nothing_is_kept_where_nothing_is_wanted(tmp_path: Path, clock: HandClock) -> None:
    log = log_in(tmp_path, clock, None)
    log.hear(called())
    assert await tools(log) == []
    await log.close()
    assert list(tmp_path.iterdir()) == []


async def test_only_its_owner_can_read_the_file(tmp_path: Path, clock: HandClock) -> None:
    before = os.umask(0)
    try:
        log = log_in(tmp_path / "data", clock)
        log.hear(called())
        await tools(log)
        files = list((tmp_path / "data").iterdir())
        assert len(files) >= 2  # the write-ahead log too
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        await log.close()
    finally:
        os.umask(before)


async def test_a_damaged_file_is_set_aside_and_calls_are_logged_again(
    tmp_path: Path, clock: HandClock
) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    log = log_in(tmp_path, clock)
    log.hear(called("first"))
    with pytest.raises(StoreUnavailable):
        await log.calls_after(EVERYTHING, 0, 1)
    assert await tools(log) == ["first"]
    assert (tmp_path / f"{FILE}.damaged").exists()
    await log.close()


async def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path, clock: HandClock) -> None:
    with sqlite3.connect(tmp_path / FILE) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    before = (tmp_path / FILE).read_bytes()
    log = log_in(tmp_path, clock)
    log.hear(called())
    with pytest.raises(StoreUnavailable, match="newer"):
        await log.calls(EVERYTHING, 1)
    await log.close()
    assert (tmp_path / FILE).read_bytes() == before


async def test_a_disk_that_takes_nothing_costs_the_oldest_calls_and_no_memory(
    tmp_path: Path, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("a file where the directory should be")
    log = log_in(tmp_path / "data", clock)
    for number in range(activity.QUEUE + 10):
        log.hear(called(f"call-{number}"))
    assert await tools(log) == []
    assert log.depth() == activity.QUEUE
    (tmp_path / "data").unlink()
    assert (await tools(log, limit=1)) == [f"call-{activity.QUEUE + 9}"]
    assert log.depth() == 0
    (first,) = await log.calls_after(EVERYTHING, 0, 1)
    assert first.tool == "call-10"
    assert "10 calls were not logged" in caplog.text
    await log.close()
