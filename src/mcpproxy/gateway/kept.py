"""Large results, kept for whoever asked for them until they were read.

Law: a key is unguessable and holds for its caller only; what is kept is bounded in number, bytes
and time, for each caller and for all.
"""

import asyncio
import contextlib
import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mcpproxy.core.ports import Clock
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.limits import GatewayLimits

_KEY_BYTES: Final = 12
"""96 bits: nobody guesses one within half an hour, and a model copies 16 characters rightly."""


@dataclass(slots=True)
class _Kept:
    caller: Caller
    text: str
    size: int
    read_at: timedelta


class KeptResults:
    """Texts by key. What was not read for `kept_for` is forgotten, and the oldest where there is
    no room.
    """

    def __init__(self, clock: Clock, limits: GatewayLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self._bytes

    def keep(self, caller: Caller, text: str) -> str | None:
        """Its key, or None when there can be no room for it."""
        limits, size = self._limits, sys.getsizeof(text)
        if size > min(limits.kept_bytes_of_caller, limits.kept_bytes):
            return None
        self._expire()
        self._make_room(
            lambda kept: kept.caller == caller,
            limits.kept_results_of_caller,
            limits.kept_bytes_of_caller - size,
        )
        self._make_room(lambda _: True, limits.kept_results, limits.kept_bytes - size)
        key = secrets.token_urlsafe(_KEY_BYTES)
        self._kept[key] = _Kept(caller, text, size, self._clock.elapsed())
        self._bytes += size
        self._sweep_later()
        return key

    def read(self, caller: Caller, key: str) -> str | None:
        """The text, if it is kept for this caller."""
        self._expire()
        kept = self._kept.get(key)
        if kept is None or kept.caller != caller:
            return None
        kept.read_at = self._clock.elapsed()
        self._kept.move_to_end(key)
        return kept.text

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._kept.clear()
        self._bytes = 0

    def _make_room(self, whose: Callable[[_Kept], bool], count: int, size: int) -> None:
        """Forget the oldest until one more of so many, and so many bytes more, have room."""
        theirs = [(key, kept.size) for key, kept in self._kept.items() if whose(kept)]
        used, left = sum(size for _, size in theirs), len(theirs)
        for key, of_this in theirs:
            if left < count and used <= size:
                return
            self._forget(key)
            left, used = left - 1, used - of_this

    def _expire(self) -> None:
        """The oldest stand first: reading moves to the end."""
        oldest = self._clock.elapsed() - self._limits.kept_for
        while self._kept:
            key, kept = next(iter(self._kept.items()))
            if kept.read_at > oldest:
                return
            self._forget(key)

    def _forget(self, key: str) -> None:
        self._bytes -= self._kept.pop(key).size

    def _sweep_later(self) -> None:
        """Nothing stays longer because nobody comes any more."""
        if self._sweeping is None:
            with contextlib.suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                wait = self._limits.kept_for.total_seconds()
                self._sweeping = loop.call_later(wait, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        self._expire()
        if self._kept:
            self._sweep_later()
