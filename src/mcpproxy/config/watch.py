"""Follows the file while the daemon runs.

Law: an edit is told once; an editor that saves in steps is waited for. Polls, because it works on
every system and file system alike.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

POLL_S: Final = 1.0
"""An edit takes effect within two polls; a stat a second costs nothing."""

Stamp = tuple[int, int, int] | None
"""Inode, size and time of change in nanoseconds; None: no such file."""


async def every_second() -> None:
    await asyncio.sleep(POLL_S)


async def watch(
    path: Path, *, tick: Callable[[], Awaitable[None]] = every_second
) -> AsyncIterator[None]:
    """Yields after each edit, once it has settled. Starts from the file as it is."""
    known = stamp(path)
    seen = known
    while True:
        await tick()
        now = stamp(path)
        settled, seen = now == seen, now
        if now != known and settled:
            known = now
            yield


def stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
