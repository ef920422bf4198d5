"""Event streams towards a client that can come back to them: what was said, kept for a while.

Law: an event has an id, and who comes back with the last one it saw gets all that followed it.
Kept events are bounded, the oldest go first, of the session that most is kept of; one connection
reads a stream at a time.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from mcpproxy.gateway.asgi import Send, begin_stream, end_stream, write
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.shares import Holder, Shares
from mcpproxy.gateway.wire import sse

# Ids of another run of the program are not ours, whatever they look like.
RUN: Final = secrets.token_hex(4)


class Kept:
    """All events that are kept for clients who come back."""

    def __init__(self, limits: GatewayLimits) -> None:
        self.limits = limits
        self._events: Shares[tuple[EventStream, int]] = Shares()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def size(self) -> int:
        """In bytes."""
        return self._events.weight

    def keep(self, stream: "EventStream", number: int, size: int) -> None:
        """One event more; room is made by what was there before, never by the new one, and for
        more than this one: who holds too much is not to be looked for at each event.
        """
        most = self.limits.max_kept_bytes
        if self.size + size > most:
            self._shrink_to(max(0, most - size - most // 16))
        self._events.add(stream.holder, (stream, number), size)

    def _shrink_to(self, total: int) -> None:
        events = self._events
        for holder, most in list(events.above(total)):
            while events.weight_of(holder) > most:
                oldest, _ = events.oldest(holder)
                oldest.forget_first()

    def forget(self, stream: "EventStream", number: int) -> None:
        self._events.drop(stream.holder, (stream, number))


class EventStream:
    """One stream: the answer to a POST, or what we say by ourselves.

    `detached` is called when the connection that read it is gone and none took its place.
    """

    def __init__(
        self, name: str, holder: Holder, kept: Kept, detached: Callable[["EventStream"], None]
    ) -> None:
        self.name = name
        self.holder = holder
        self.ended = False
        self._kept = kept
        self._detached = detached
        self._events: deque[tuple[int, bytes]] = deque()
        self._last = 0
        self._written = 0
        self._reader: object | None = None
        self._woken = asyncio.Event()

    # --- what is said ---------------------------------------------------------------------

    def put(self, message: bytes) -> None:
        self._last += 1
        if len(self._events) >= self._kept.limits.max_kept_events:
            self.forget_first()
        self._kept.keep(self, self._last, len(message))
        self._events.append((self._last, message))
        self._woken.set()

    def end(self) -> None:
        """The stream is over once what was put has been written."""
        self.ended = True
        self._woken.set()

    def forget_first(self) -> None:
        number, _ = self._events.popleft()
        self._kept.forget(self, number)

    def forget_all(self) -> None:
        while self._events:
            self.forget_first()

    @property
    def unwritten(self) -> int:
        return self._last - self._written

    @property
    def attached(self) -> bool:
        """Whether a connection reads it."""
        return self._reader is not None

    # --- who reads ------------------------------------------------------------------------

    def attach(self) -> object:
        """A new reader in the place of the one before; what it is to `write` and `detach`."""
        self._reader = object()
        self._woken.set()
        return self._reader

    def detach(self, reader: object) -> None:
        if self._reader is reader:
            self._reader = None
            self._woken.set()
            self._detached(self)

    def hang_up(self) -> None:
        """Let the reader go once it has what was said; it is to come back for the rest."""
        if self._reader is not None:
            self.detach(self._reader)

    async def write(self, send: Send, reader: object, after: int | None = None) -> None:
        """Write events to this reader as they come, until the stream is over or it is another's.

        From the one that follows `after`; without that, from the first that was never written.
        """
        pause = self._kept.limits.keep_alive.total_seconds()
        seen = self._written if after is None else min(after, self._last)
        while self._reader is reader:
            self._woken.clear()
            at = seen + 1 - self._events[0][0] if self._events else 0
            if at < len(self._events):
                seen, message = self._events[max(at, 0)]
                await write(send, sse.event(message, event_id=self.event_id(seen)))
                self._written = max(self._written, seen)
            elif self.ended:
                break
            else:
                await self._news(send, pause)
        await end_stream(send)

    async def _news(self, send: Send, pause: float) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._woken.wait()
        except TimeoutError:
            await write(send, sse.KEEP_ALIVE)

    async def begin(self, send: Send, *, retry: timedelta | None) -> None:
        """Open the answer; with `retry` for clients that know an event without data."""
        await begin_stream(send)
        if retry is not None:
            milliseconds = int(retry.total_seconds() * 1000)
            await write(send, sse.priming(self.event_id(self._written), milliseconds))
        else:
            await write(send, sse.KEEP_ALIVE)

    def event_id(self, number: int) -> str:
        return f"{self.name}-{number}"


def event_place(event_id: str) -> tuple[str, int] | None:
    """The stream's name and the number in it that an event id holds."""
    name, dash, number = event_id.rpartition("-")
    if not dash or not (number.isascii() and number.isdigit()) or len(number) > 12:
        return None
    return name, int(number)
