"""Time as one simulated machine sees it: it can sleep, its wall clock can be wrong and be set."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class SimClock:
    """The port Clock for all processes of one machine, in virtual time.

    `booted` is what its elapsed time began with, `skew` what its wall clock is wrong by.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        booted: float = 0.0,
        skew: timedelta = timedelta(0),
    ) -> None:
        self._loop = loop
        self._booted = booted
        self._slept = 0.0
        self._offset = skew

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds()) + self._offset

    def elapsed(self) -> timedelta:
        return timedelta(seconds=self.seconds() + self._booted)

    def suspended(self) -> timedelta:
        return timedelta(seconds=self._slept)

    def seconds(self) -> float:
        """Seconds since the simulation began, as the simulator counts them."""
        return self._loop.time() + self._slept

    def sleep(self, span: timedelta) -> None:
        """Every lid was closed for so long: time went on, no timer did."""
        self._slept += span.total_seconds()

    def offset(self) -> float:
        """What the wall clock is wrong by, in seconds."""
        return self._offset.total_seconds()

    def step(self, by: timedelta) -> None:
        """Somebody, or NTP, set the wall clock."""
        self._offset += by
