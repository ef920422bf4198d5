"""An event loop whose time is virtual: it never waits, it moves the clock to the next timer.

Everything that runs on it must be inline: a thread or a socket would make traces differ.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class Stuck(Exception):
    """Nothing is scheduled and nothing can ever happen: a deadlock in the code under test."""


class _NoWaiting(selectors.SelectSelector):
    """A selector that turns the time it should wait into virtual time."""

    def __init__(self, owner: "VirtualLoop") -> None:
        super().__init__()
        self._owner = owner

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("no task can run and no timer is set")
        self._owner.advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 0 and stands still while anything can run."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_NoWaiting(self))

    def time(self) -> float:
        return self._virtual

    def advance(self, seconds: float) -> None:
        self._virtual += max(0.0, seconds)


def run_virtually(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
