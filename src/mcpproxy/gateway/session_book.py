"""What is written down of sessions besides their ids: when one was used last, what it wants to
hear of, and which ended.

Law: bounded, and no secret in it. Without it sessions still survive a restart; it only keeps the
idle limit and an ended session's end.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

import msgspec

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.ports import Clock
from mcpproxy.gateway.eras import Memory

# What is written is as old as this at most: nothing beside an idle limit of hours.
_EVERY: Final = timedelta(minutes=10)
# Changes that come together are written once.
_TOGETHER: Final = timedelta(seconds=1)
_MOST: Final = 5000
_NAME: Final = "client_sessions"


class Used(msgspec.Struct, frozen=True, array_like=True):
    """When a session was used last, in seconds since 1970, and what it wants to hear of."""

    at: int
    log_level: str | None = None
    uris: tuple[str, ...] = ()


class _Book(msgspec.Struct):
    used: dict[str, Used] = {}
    ended: dict[str, int] = {}


_EMPTY: Final = msgspec.json.encode(_Book()).decode()


class SessionBook:
    """By the digests of session ids. `in_use` are the sessions of now."""

    def __init__(self, memory: Memory, clock: Clock, idle: timedelta) -> None:
        self._memory = memory
        self._clock = clock
        self._idle = idle
        self._book = _Book()
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def ready(self) -> None:
        """Once what the last run wrote has been read."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    def used(self, digest: str) -> Used | None:
        return self._book.used.get(digest)

    def has_ended(self, digest: str) -> bool:
        return digest in self._book.ended

    def ended(self, digest: str) -> None:
        self._book.ended[digest] = self.now()
        self._book.used.pop(digest, None)
        self.changed()

    def changed(self) -> None:
        """Something is worth to be written soon."""
        self._changed.set()

    def now(self) -> int:
        return int(self._clock.now().timestamp())

    async def keep(self, in_use: Callable[[], Mapping[str, Used]]) -> None:
        """Write now and then, until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY.total_seconds()):
                    await self._changed.wait()
                await asyncio.sleep(_TOGETHER.total_seconds())
            self._changed.clear()
            await self.write(in_use())

    async def write(self, in_use: Mapping[str, Used]) -> None:
        """Put down what is known now, beside what other runs of us have written meanwhile."""
        await self.ready()
        with contextlib.suppress(McpproxyError):
            stored = await self._memory.get_setting(_NAME)
            self._merge(stored)
            self._used(in_use)
            self._forget_old()
            text = msgspec.json.encode(self._book).decode()
            if text != (stored or _EMPTY):
                await self._memory.set_setting(_NAME, text)

    async def _read(self) -> None:
        with contextlib.suppress(McpproxyError):
            self._merge(await self._memory.get_setting(_NAME))

    def _merge(self, text: str | None) -> None:
        if not text:
            return
        try:
            written = msgspec.json.decode(text, type=_Book)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        self._book.ended = {**written.ended, **self._book.ended}
        self._used(written.used)

    def _used(self, items: Mapping[str, Used]) -> None:
        for digest, used in items.items():
            known = self._book.used.get(digest)
            if digest not in self._book.ended and (known is None or known.at <= used.at):
                self._book.used[digest] = used

    def _forget_old(self) -> None:
        """An id older than the idle limit is dead without being written down."""
        oldest = self.now() - int(self._idle.total_seconds())
        book = self._book
        used = sorted((item for item in book.used.items() if item[1].at >= oldest), key=_by_use)
        ended = sorted((item for item in book.ended.items() if item[1] >= oldest), key=_by_end)
        book.used, book.ended = dict(used[-_MOST:]), dict(ended[-_MOST:])


def _by_use(item: tuple[str, Used]) -> int:
    return item[1].at


def _by_end(item: tuple[str, int]) -> int:
    return item[1]
