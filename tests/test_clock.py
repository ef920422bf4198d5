"""The system's clocks."""

import time
from datetime import UTC, datetime, timedelta

from mcpproxy.clock import SystemClock


def test_the_wall_clock_is_aware_and_in_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


def test_elapsed_time_goes_on_and_never_back() -> None:
    clock = SystemClock()
    readings = [clock.elapsed() for _ in range(1000)]
    assert readings == sorted(readings)


def test_suspended_time_is_what_boot_time_counts_beyond_waking_time() -> None:
    clock = SystemClock()
    expected = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    assert abs(clock.suspended().total_seconds() - expected) < 1
    assert clock.suspended() >= timedelta(0)
