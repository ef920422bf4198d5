"""One daemon for each data directory, and how others find it: `daemon.lock`.

Law: the operating system's lock says whether a daemon lives, never the file's content; so what a
killed daemon left behind is harmless. Imports little: every command reads this.
"""

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import AlreadyRunning
from mcpproxy.storage import files

LOCK_FILE: Final = "daemon.lock"
READER_PATIENCE_S: Final = 1.0
"""A command that looks whether a daemon lives holds the lock for microseconds."""


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """What a daemon tells about itself. `started_at` is RFC 3339; `socket` a path or ""."""

    pid: int
    listen: str
    started_at: str
    socket: str = ""


class Ownership:
    """The data directory is ours until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, record: DaemonRecord) -> None:
        """Tell others where to find us. A read-only disk keeps its old content: no matter."""
        text = json.dumps(asdict(record)).encode()
        with contextlib.suppress(OSError):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, text)

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def claim(data_dir: Path) -> Ownership:
    """Become the daemon of this directory (which exists). Raises AlreadyRunning, NotPermitted."""
    descriptor = _open_for_owner(data_dir / LOCK_FILE)
    deadline = time.monotonic() + READER_PATIENCE_S
    while not _lock_exclusive(descriptor):
        # Only a reader? Then it is gone at once. A daemon keeps readers out as well.
        if not _lock_shared(descriptor) or time.monotonic() > deadline:
            record = _read(descriptor)
            os.close(descriptor)
            raise _already_running(data_dir, record)
        _unlock(descriptor)
        time.sleep(0.005)
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)  # what a killed predecessor said is no longer so
    return Ownership(descriptor)


def find_daemon(data_dir: Path) -> DaemonRecord | None:
    """The daemon that lives on this data directory now, or None. Never waits, never writes."""
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _lock_shared(descriptor) else _read(descriptor)
    finally:
        os.close(descriptor)


def _open_for_owner(path: Path) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            return files.create_private(path)
        try:
            return os.open(path, os.O_RDWR)
        except OSError:
            return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise files.os_trouble(error, path) from error


def _read(descriptor: int) -> DaemonRecord:
    """The record; zeros and blanks while its daemon is still starting."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        found = json.loads(os.read(descriptor, 4096))
        return DaemonRecord(
            pid=int(found["pid"]),
            listen=str(found["listen"]),
            started_at=str(found["started_at"]),
            socket=str(found.get("socket", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return DaemonRecord(pid=0, listen="", started_at="")


def _already_running(data_dir: Path, record: DaemonRecord) -> AlreadyRunning:
    if not record.pid:
        return AlreadyRunning(
            f"another mcpproxy is just starting on {data_dir}",
            next_step="use that one, or name another directory with --data-dir",
        )
    return AlreadyRunning(
        f"mcpproxy already runs on {data_dir}: process {record.pid}, listening on "
        f"{record.listen}, since {record.started_at}",
        next_step="use that one, stop it first, or name another directory with --data-dir",
    )


if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE: Final = 1 << 30
    """Far behind the content: on Windows a locked byte cannot be read by others."""

    def _lock_exclusive(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    _lock_shared = _lock_exclusive

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock_exclusive(descriptor: int) -> bool:
        return _flock(descriptor, fcntl.LOCK_EX)

    def _lock_shared(descriptor: int) -> bool:
        return _flock(descriptor, fcntl.LOCK_SH)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _flock(descriptor: int, how: int) -> bool:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
