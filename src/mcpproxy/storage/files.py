"""Directories and files that only their owner may read, whatever the umask says.

Law: 0700 for the directory, 0600 for every file, before a byte of content is in it.
"""

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import NotPermitted, StoreTrouble, StoreUnavailable

PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600
_OTHERS: Final = 0o077
_HAS_MODES: Final = os.name == "posix"


def private_directory(path: Path) -> None:
    """Make the data directory, or make sure that the one there is ours alone.

    Raises NotPermitted when it cannot be, StoreUnavailable when the disk is full or read-only.
    """
    try:
        if not path.is_dir():
            path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            path.chmod(PRIVATE_DIR)
        elif _HAS_MODES and path.stat().st_mode & _OTHERS:
            _take_from_others(path)
    except OSError as error:
        raise os_trouble(error, path) from error


def _take_from_others(path: Path) -> None:
    status = path.stat()
    shared = status.st_mode & stat.S_ISVTX or path.resolve() in (Path.home(), Path("/"))
    if shared or (sys.platform != "win32" and status.st_uid != os.geteuid()):
        raise NotPermitted(
            f"{path} is shared with others and holds more than our data",
            next_step="name a directory of its own with --data-dir",
        )
    try:
        path.chmod(PRIVATE_DIR)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise


def private_file(path: Path) -> None:
    """Make the file, empty, if it is not there; take an existing one from everybody else."""
    try:
        with contextlib.suppress(FileExistsError):
            os.close(create_private(path))
            return
        if _HAS_MODES and path.stat().st_mode & _OTHERS:
            path.chmod(PRIVATE_FILE)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise os_trouble(error, path) from error


def create_private(path: Path) -> int:
    """A descriptor of a new file, open for writing. Raises FileExistsError, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    if sys.platform != "win32":
        os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def sync_directory(path: Path) -> None:
    """Make a new name in this directory survive a power cut; Windows has no such call."""
    if not _HAS_MODES:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def os_trouble(error: OSError, path: Path) -> NotPermitted | StoreUnavailable:
    """An operating system's error about a file of ours, as one of our own."""
    reason = error.strerror or type(error).__name__
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return NotPermitted(
                f"{path}: {reason}", next_step="make it readable and writable for this user"
            )
        case errno.ENOENT:
            return StoreUnavailable(
                f"{path} is gone", next_step="put it back, or restart to begin an empty one"
            )
        case errno.EROFS:
            return StoreUnavailable(
                f"{path}: {reason}",
                next_step="make the disk writable; what is stored goes on being served",
                trouble=StoreTrouble.READ_ONLY,
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StoreUnavailable(
                f"{path}: {reason}", next_step="free some space", trouble=StoreTrouble.FULL
            )
        case _:
            return StoreUnavailable(f"{path}: {reason}", next_step="look after the disk")
