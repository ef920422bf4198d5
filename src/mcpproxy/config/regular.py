"""Reading a file that a person named.

Law: at once or not at all. A pipe would be waited for until somebody writes into it, which may be
never, and could not be read again.
"""

import errno
import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """A pipe, a device or a socket."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "this is no regular file")


def read_regular(path: Path, limit: int) -> bytes:
    """Up to `limit` bytes. Raises OSError."""
    with open(path, "rb", opener=_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotRegularError
        return file.read(limit)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
