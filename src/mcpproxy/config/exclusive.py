"""One program edits the file at a time: a lock beside it that lasts for one edit.

Law: the lock is the operating system's, so an edit that is killed leaves none behind; where there
are no locks (some network file systems) the edit is made all the same.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import ConfigError

PATIENCE_S: Final = 10.0
"""An edit takes milliseconds; hundreds may stand in line."""
PAUSE_S: Final = 0.005


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of the file at `path`. Blocks; raises ConfigError when it takes too long."""
    target = path.resolve()
    try:
        descriptor = _open(target)
    except OSError:
        yield  # no such directory, or none for us: reading or writing the file says it in full
        return
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"another program has been editing {path} for {PATIENCE_S:g} s",
                    next_step="try again once it is done",
                )
            time.sleep(PAUSE_S)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _open(target: Path) -> int:
        # A directory cannot be opened here, and the file itself is replaced: a file beside it.
        return os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)

    def _taken(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _open(target: Path) -> int:
        # The file is replaced by every edit; its directory stays.
        return os.open(target.parent, os.O_RDONLY)

    def _taken(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True
