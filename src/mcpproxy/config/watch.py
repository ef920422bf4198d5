"""Follows the file, and the key files that it names, while the daemon runs.

Law: an edit is told once; an editor that saves in steps is waited for. Polls, because it works on
every system and file system alike.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from mcpproxy.config.locate import Stamps

POLL_S: Final = 1.0
"""An edit takes effect within two polls; a stat a second costs nothing."""


async def every_second() -> None:
    await asyncio.sleep(POLL_S)


async def watch(
    look: Callable[[], Stamps], known: Stamps, *, tick: Callable[[], Awaitable[None]] = every_second
) -> AsyncIterator[None]:
    """Yields after each edit, once it has settled. `known` are the stamps of what was read last."""
    seen = known
    while True:
        await tick()
        now = look()
        settled, seen = now == seen, now
        if now != known and settled:
            known = now
            yield
