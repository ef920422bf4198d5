"""Follows the file while the daemon runs.

Law: a broken edit is reported once and changes nothing; an editor that saves in steps is waited
for. Polls, because it works on every system and file system alike.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from mcpproxy.config.settings import Settings
from mcpproxy.core.errors import McpproxyError

POLL_S: Final = 1.0
"""An edit takes effect within two polls; a stat a second costs nothing."""

Stamp = tuple[int, int, int] | None
"""Inode, size and time of change in nanoseconds; None: no such file."""


async def every_second() -> None:
    await asyncio.sleep(POLL_S)


async def watch(
    path: Path,
    load: Callable[[], Settings],
    *,
    tick: Callable[[], Awaitable[None]] = every_second,
) -> AsyncIterator[Settings | McpproxyError]:
    """The settings after each edit, or why an edit does not load. Starts from the file as it is.

    `load` runs in a thread: it may ask a keyring.
    """
    known = stamp(path)
    seen = known
    while True:
        await tick()
        now = stamp(path)
        settled, seen = now == seen, now
        if now == known or not settled:
            continue
        known = now
        try:
            settings = await asyncio.to_thread(load)
        except McpproxyError as error:
            yield error
        else:
            yield settings


def stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
