"""An event loop whose time is virtual: it never waits, it moves the clock to the next timer.

Everything that runs on it must be inline: a thread or a socket would make traces differ.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

_T = TypeVar("_T")


MOST_TURNS_AT_ONE_TIME: Final = 50_000
"""A world of some dozen tasks is at rest after hundreds; who needs more runs in a circle."""


RESOLUTION: Final = 1e-6
"""In seconds, as fine as a datetime: a timer that is due by less than a float can tell apart after
some months would never fire.
"""


class Stuck(Exception):
    """A deadlock in the code under test, or a circle in which no time passes."""


class _NoWaiting(selectors.SelectSelector):
    """A selector that turns the time it should wait into virtual time."""

    def __init__(self, owner: "VirtualLoop") -> None:
        super().__init__()
        self._owner = owner
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("no task can run and no timer is set")
        if timeout > 0:
            self._turns = 0
            self._owner.advance(timeout)
        self._turns += 1
        if self._turns > MOST_TURNS_AT_ONE_TIME:
            raise Stuck("tasks keep each other busy and no time passes")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 0 and stands still while anything can run."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_NoWaiting(self))
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return self._virtual

    def advance(self, seconds: float) -> None:
        self._virtual += seconds


def run_virtually(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
