"""One daemon owns a data directory; others find it, and a dead one is no obstacle."""

import os
from pathlib import Path

import pytest

from mcpproxy.core.errors import AlreadyRunning
from mcpproxy.storage.ownership import LOCK_FILE, DaemonRecord, claim, find_daemon
from tests.storage.test_processes import child

RECORD = DaemonRecord(os.getpid(), "127.0.0.1:8080", "2026-11-23T12:00:00Z", "/run/x.sock")


def test_a_daemon_is_found_while_it_lives(tmp_path: Path) -> None:
    assert find_daemon(tmp_path) is None
    ownership = claim(tmp_path)
    ownership.announce(RECORD)
    assert find_daemon(tmp_path) == RECORD
    ownership.release()
    assert find_daemon(tmp_path) is None


def test_a_second_daemon_is_told_who_runs_where(tmp_path: Path) -> None:
    with child(tmp_path, "own", "127.0.0.1:4711") as first:
        assert first.stdout
        assert first.stdout.readline() == "owned\n"
        with pytest.raises(AlreadyRunning) as caught:
            claim(tmp_path)
    assert caught.value.exit_code == 3
    for word in (str(first.pid), "127.0.0.1:4711", "2026-11-23T12:00:00Z", str(tmp_path)):
        assert word in caught.value.message


def test_what_a_killed_daemon_left_behind_is_harmless(tmp_path: Path) -> None:
    with child(tmp_path, "own", "127.0.0.1:4711") as first:
        assert first.stdout
        first.stdout.readline()
        first.kill()
        first.wait()
        assert b"4711" in (tmp_path / LOCK_FILE).read_bytes()
        assert find_daemon(tmp_path) is None
        ownership = claim(tmp_path)
        assert find_daemon(tmp_path) == DaemonRecord(0, "", "")
        ownership.announce(RECORD)
        assert find_daemon(tmp_path) == RECORD
        ownership.release()


def test_a_daemon_that_is_still_starting_is_respected(tmp_path: Path) -> None:
    ownership = claim(tmp_path)
    with pytest.raises(AlreadyRunning, match="just starting"):
        claim(tmp_path)
    ownership.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff" * 9000])
def test_nonsense_in_the_lock_file_is_harmless(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK_FILE).write_bytes(content)
    assert find_daemon(tmp_path) is None
    ownership = claim(tmp_path)
    ownership.announce(RECORD)
    assert find_daemon(tmp_path) == RECORD
    ownership.release()


def test_the_lock_file_is_its_owners_alone(tmp_path: Path) -> None:
    ownership = claim(tmp_path)
    assert (tmp_path / LOCK_FILE).stat().st_mode & 0o777 == 0o600
    ownership.release()
