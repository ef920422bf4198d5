"""Log files that only their owner can read, of bounded size.

Law: 0600 in a 0700 directory whatever the umask is, also after a rotation.
"""

import contextlib
import os
import time
from datetime import timedelta
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 10 * 1024 * 1024
BACKUPS: Final = 5


def make_private_directory(directory: Path) -> None:
    """Create it 0700, or tighten the one that is there."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        directory.chmod(0o700)


class PrivateFileHandler(RotatingFileHandler):
    """A rotating log file, 0600, opened at the first line. Rotated files older than `max_age` go
    whenever a file is opened: at the start and at every rotation.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        backups: int = BACKUPS,
        max_age: timedelta | None = None,
    ) -> None:
        super().__init__(
            path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", delay=True
        )
        self._max_age = max_age

    def _open(self) -> TextIOWrapper:
        make_private_directory(Path(self.baseFilename).parent)
        self._remove_aged()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self.baseFilename, flags, 0o600)
        if os.name == "posix":
            os.fchmod(descriptor, 0o600)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def _remove_aged(self) -> None:
        if self._max_age is None:
            return
        oldest = time.time() - self._max_age.total_seconds()
        for number in range(1, self.backupCount + 1):
            rotated = Path(f"{self.baseFilename}.{number}")
            with contextlib.suppress(OSError):
                if rotated.stat().st_mtime < oldest:
                    rotated.unlink()
