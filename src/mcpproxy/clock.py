"""The system's clocks: wall time, and elapsed time that goes on while the machine sleeps.

Law: `elapsed` counts suspended time (CLOCK_BOOTTIME on Linux and its like elsewhere); asyncio's
own timers do not, which is why nobody trusts a long sleep.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

if sys.platform == "linux":

    def _boottime() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def _awake() -> float:
        return time.clock_gettime(time.CLOCK_MONOTONIC)

elif sys.platform == "darwin":
    # On macOS CLOCK_MONOTONIC goes on during sleep and CLOCK_UPTIME_RAW does not.
    def _boottime() -> float:
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def _awake() -> float:
        return time.clock_gettime(time.CLOCK_UPTIME_RAW)

elif sys.platform == "win32":
    import ctypes

    _kernel = ctypes.WinDLL("kernelbase")

    def _ticks(read: Callable[[object], object]) -> float:
        """100 ns units since boot, as the system call writes them."""
        value = ctypes.c_uint64()
        read(ctypes.byref(value))
        return value.value / 1e7

    def _boottime() -> float:
        return _ticks(_kernel.QueryInterruptTime)

    def _awake() -> float:
        return _ticks(_kernel.QueryUnbiasedInterruptTime)

else:
    _boottime = _awake = time.monotonic


class SystemClock:
    """Implements the port Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> timedelta:
        return timedelta(seconds=_boottime())

    def suspended(self) -> timedelta:
        return timedelta(seconds=max(0.0, _boottime() - _awake()))
