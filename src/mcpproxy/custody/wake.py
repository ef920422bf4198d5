"""Notices that the machine slept or its clock was set, by comparing clocks each second."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.ports import Clock

MIN_SLEEP: Final = timedelta(seconds=5)
"""Shorter gaps are a busy machine, not a suspended one."""

SUSPEND: Final = "suspend"
CLOCK_STEP: Final = "clock_step"


@dataclass(frozen=True, slots=True)
class Awoken:
    """What was noticed: the reason in a word, and how long it lasted."""

    reason: str
    slept: timedelta


class WakeWatch:
    """`look` often; `woken_at` is the wall time of the last wake, network change or clock step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._suspended = clock.suspended()
        self._drift = clock.now() - _EPOCH - clock.elapsed()
        self.woken_at: datetime | None = None

    def look(self) -> Awoken | None:
        """What happened since the last look, if anything did."""
        suspended = self._clock.suspended()
        slept = suspended - self._suspended
        self._suspended = suspended
        drift = self._clock.now() - _EPOCH - self._clock.elapsed()
        stepped = abs(drift - self._drift)
        self._drift = drift
        if slept >= MIN_SLEEP:
            self.mark()
            return Awoken(SUSPEND, slept)
        if stepped >= MIN_SLEEP:
            self.mark()
            return Awoken(CLOCK_STEP, stepped)
        return None

    def mark(self) -> None:
        """What is known from before this moment is no guide any more."""
        self.woken_at = self._clock.now()


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
