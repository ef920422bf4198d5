"""How much an upstream may say by itself: lines into its log, bytes into its stderr.

Law: what is too much is dropped before anybody looks at it, counted, and told of; or it is read
later. A server that never stops talking costs a bounded share of the machine.
"""

import asyncio
from collections.abc import Callable
from typing import Final

Elapsed = Callable[[], float]
"""Seconds since some fixed moment."""

LINES_A_SECOND: Final = 50.0
LINES_AT_ONCE: Final = 1000.0
"""A traceback of a deep stack, or what a talkative server says at its start."""

LINE_LENGTH: Final = 256
"""So many characters more count as a line more: it is the length that costs."""

BYTES_A_SECOND: Final = 2.0 * 1024 * 1024
BYTES_AT_ONCE: Final = 4.0 * 1024 * 1024


class Bucket:
    """A token bucket; it starts full."""

    def __init__(self, rate: float, size: float, elapsed: Elapsed) -> None:
        self._rate = rate
        self._size = size
        self._elapsed = elapsed
        self._level = size
        self._at = elapsed()

    def take(self, amount: float) -> bool:
        """Whether there was so much; then it is taken."""
        self._fill()
        if self._level < amount:
            return False
        self._level -= amount
        return True

    def owe(self, amount: float) -> float:
        """Take it, there or not; the seconds until the debt is paid."""
        self._fill()
        self._level -= amount
        return max(0.0, -self._level / self._rate)

    def _fill(self) -> None:
        now = self._elapsed()
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now


class LineThrottle:
    """Passes an upstream's lines on, and says how many it did not."""

    def __init__(self, write: Callable[[str], None], elapsed: Elapsed, tell_every: float) -> None:
        """`tell_every` is in seconds."""
        self._write = write
        self._tell_every = tell_every
        self._bucket = Bucket(LINES_A_SECOND, LINES_AT_ONCE, elapsed)
        self._dropped = 0
        self._telling: asyncio.TimerHandle | None = None

    def line(self, line: str) -> None:
        if self._bucket.take(1 + len(line) / LINE_LENGTH):
            self._write(line)
            return
        self._dropped += 1
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(self._tell_every, self.tell)

    def tell(self) -> None:
        """Say now what was dropped since it was said last."""
        dropped, self._dropped = self._dropped, 0
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if dropped:
            self._write(f"{dropped} lines were dropped: more than {LINES_A_SECOND:g} a second")
