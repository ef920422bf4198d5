"""The one place where notices are published and heard.

Law: publishing never blocks and never raises. Every subscriber has a bounded queue: one that is
too slow loses the oldest events and is told so, and nobody else notices.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.notices import Notice
from mcpproxy.core.ports import Clock

REPLAY_LENGTH: Final = 1024
"""Events kept for clients that come back: an hour of 20 busy servers, some 300 kB."""

QUEUE_LENGTH: Final = 256
"""Events a subscriber may lie behind."""

_log = logging.getLogger("mcpproxy.bus")


@dataclass(frozen=True, slots=True)
class Event:
    """A notice as it was published. `event_id` is unique across restarts of the daemon."""

    event_id: str
    at: datetime
    notice: Notice


@dataclass(frozen=True, slots=True)
class Gap:
    """Events were lost between the last one and the next: read the state anew."""


class Subscription:
    """One listener's bounded queue; made by `Bus.subscribe`, ended by `close`."""

    def __init__(self, backlog: list[Event | Gap], capacity: int) -> None:
        self._waiting: deque[Event | Gap] = deque(backlog)
        self._capacity = max(capacity, len(backlog) + 1)
        self._changed = asyncio.Event()
        self._closed = False
        if backlog:
            self._changed.set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        return self._closed

    def push(self, event: Event) -> None:
        """Called by the bus alone."""
        if len(self._waiting) >= self._capacity:
            self._waiting.clear()
            self._waiting.append(Gap())
        self._waiting.append(event)
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def next(self, timeout: timedelta) -> Event | Gap | None:
        """The next event; None when the time is up or the subscription is closed and empty."""
        if not self._waiting and not self._closed:
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    await self._changed.wait()
            except TimeoutError:
                return None
        event = self._waiting.popleft() if self._waiting else None
        if not self._waiting and not self._closed:
            self._changed.clear()
        return event


class Bus:
    """Publisher for the rooms, event source for logs, metrics and `/events`.

    Used from the event loop's thread only.
    """

    def __init__(self, clock: Clock, *, replay: int = REPLAY_LENGTH) -> None:
        self._clock = clock
        self._boot = f"{int(clock.now().timestamp() * 1000):x}"
        self._count = 0
        self._ring: deque[Event] = deque(maxlen=replay)
        self._hearers: list[Callable[[Notice], None]] = []
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def publish(self, notice: Notice) -> None:
        self._count += 1
        event = Event(f"{self._boot}-{self._count}", self._clock.now(), notice)
        self._ring.append(event)
        for hear in self._hearers:
            try:
                hear(notice)
            except Exception:
                # A broken listener must not break what published: log it and go on.
                _log.exception("a listener failed on %s", notice.NAME)
        for subscription in tuple(self._subscriptions):
            subscription.push(event)

    def hear(self, listener: Callable[[Notice], None]) -> None:
        """Call `listener` with every notice from now on, at once. It must be quick."""
        self._hearers.append(listener)

    def subscribe(self, *, after: str | None = None, capacity: int = QUEUE_LENGTH) -> Subscription:
        """Events from now on; with `after`, those that followed the event of that id too.

        An id that is not known any more (too old, or of another run) starts with a Gap.
        """
        subscription = Subscription(self._backlog(after), capacity)
        if self._closed:
            subscription.close()
        else:
            self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        subscription.close()

    def depth(self) -> int:
        """How far the slowest subscriber lies behind."""
        return max((len(subscription) for subscription in self._subscriptions), default=0)

    def close(self) -> None:
        """End all subscriptions; those who iterate see the end after what they have waiting."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            self.unsubscribe(subscription)

    def _backlog(self, after: str | None) -> list[Event | Gap]:
        if after is None:
            return []
        missed: list[Event | Gap] = []
        for event in reversed(self._ring):
            if event.event_id == after:
                return missed[::-1]
            missed.append(event)
        return [Gap()]
