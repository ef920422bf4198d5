"""Time as the simulated machine sees it: it can be suspended, and its wall clock can be set."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class SimClock:
    """The port Clock for all processes of the one machine, in virtual time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slept = 0.0
        self._offset = timedelta(0)

    def now(self) -> datetime:
        return START + self.elapsed() + self._offset

    def elapsed(self) -> timedelta:
        return timedelta(seconds=self.seconds())

    def suspended(self) -> timedelta:
        return timedelta(seconds=self._slept)

    def seconds(self) -> float:
        """`elapsed`, as the simulator counts it."""
        return self._loop.time() + self._slept

    def sleep(self, span: timedelta) -> None:
        """The lid was closed for so long: time went on, no timer did."""
        self._slept += span.total_seconds()

    def step(self, by: timedelta) -> None:
        """Somebody, or NTP, set the wall clock."""
        self._offset += by
