"""Where a transaction runs: in one thread of its own, or inline for the simulator.

Law: a transaction is one function, run whole. Cancelling who waits for it never cuts it short.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from mcpproxy.core.errors import StoreUnavailable

_T = TypeVar("_T")


class Runner(Protocol):
    """Runs synchronous work to its end, one piece at a time, in the order of the calls."""

    async def run(self, work: Callable[[], _T]) -> _T: ...

    async def close(self) -> None:
        """After this nothing runs any more; what was handed in before still ends."""
        ...


class ThreadRunner:
    """One dedicated thread: SQLite's own, so that a slow disk never holds up the event loop."""

    def __init__(self, name: str = "mcpproxy-vault") -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], _T]) -> _T:
        loop = asyncio.get_running_loop()
        try:
            future = loop.run_in_executor(self._pool, work)
        except RuntimeError as error:
            raise StoreUnavailable("the store is closed") from error
        # shield: the caller may go away, the transaction goes on and its outcome is real.
        return await asyncio.shield(future)

    async def close(self) -> None:
        self._pool.shutdown(wait=False)


class InlineRunner:
    """Runs in the caller, at once: virtual time then has no thread to race with."""

    async def run(self, work: Callable[[], _T]) -> _T:
        return work()

    async def close(self) -> None:
        return None
