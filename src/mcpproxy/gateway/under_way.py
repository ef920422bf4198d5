"""Who waits for an upstream, so that they can be told when it is taken away.

Law: a caller whose request was cut off reads why, and whether it may have been carried out; not
what the broken link looked like. Who comes later reads that nothing was sent.
"""

import asyncio
from types import TracebackType
from typing import Final

from mcpproxy.core.errors import UpstreamUnavailable
from mcpproxy.gateway.failures import NotSent

_AGAIN: Final = "Call again"


class UnderWay:
    """A context that every request to one upstream runs in; it costs no task."""

    __slots__ = ("_cut", "_name", "_tasks", "_why")

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[object]] = set()
        self._cut: set[asyncio.Task[object]] = set()
        self._why: str | None = None

    def over(self, why: str) -> None:
        """Nothing more begins, and what fails from now on fails for this reason. The first one
        holds.
        """
        self._why = self._why or why

    def cut_off(self, why: str) -> None:
        """The same, and nobody waits any longer."""
        self.over(why)
        self._cut, self._tasks = self._tasks, set()
        for task in self._cut:
            task.cancel()

    def __enter__(self) -> None:
        """Raises UpstreamUnavailable once it is over."""
        if self._why is not None:
            raise self._not_sent()
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.discard(task)
        if self._why is None:
            return
        if isinstance(error, NotSent):
            raise self._not_sent() from error
        # Of a task that somebody else cancelled as well nobody waits for an answer.
        was_cut = task in self._cut and not task.uncancel()
        self._cut.discard(task)
        if isinstance(error, UpstreamUnavailable) or (was_cut and error is not None):
            said = f"{self._why}: whether {self._name} carried this out is not known"
            raise UpstreamUnavailable(said, next_step=_AGAIN) from None

    def _not_sent(self) -> UpstreamUnavailable:
        return UpstreamUnavailable(f"{self._why}: nothing was sent", next_step=_AGAIN)
