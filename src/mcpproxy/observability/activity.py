"""The log of activity: who called what, when, how long it took, what came of it.

Law: a call pays for one append to a queue; writing is somebody else's time. The queue is bounded:
when the disk does not take it, the oldest calls are lost and that is told. A crash loses at most
what came within EVERY.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from mcpproxy.core.activity import MAX_ARGUMENTS, CallFilter, CallRecord
from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.notices import Called, ItemAsked, Notice
from mcpproxy.core.ports import Clock
from mcpproxy.observability.activity_file import ActivityFile, Row, microseconds
from mcpproxy.observability.redaction import Redactor

EVERY: Final = timedelta(seconds=1)
"""Between two writes; nothing is written while nobody calls."""

PRUNE_EVERY: Final = timedelta(minutes=1)
QUEUE: Final = 20_000
"""Four seconds of the fastest traffic that was measured; some 10 MB."""

BATCH: Final = 1_000
"""Calls in one transaction; in between others may use the file."""

_MICROSECOND: Final = timedelta(microseconds=1)
_log = logging.getLogger("mcpproxy.activity")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long calls are kept, and how many of them in how many bytes."""

    max_age: timedelta = timedelta(days=90)
    max_records: int = 100_000
    max_bytes: int = 256 * 1024 * 1024


class ActivityLog:
    """Implements the port ActivityBook. It writes from `start` to `close`."""

    def __init__(
        self,
        file: ActivityFile,
        clock: Clock,
        redactor: Redactor,
        retention: Retention | None = Retention(),
    ) -> None:
        """`retention` None: nothing new is kept."""
        self.retention = retention
        self._file = file
        self._clock = clock
        self._redactor = redactor
        self._waiting: deque[tuple[datetime, Called]] = deque(maxlen=QUEUE)
        self._called = asyncio.Event()
        self._closing = asyncio.Event()
        self._writing = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mcpproxy-activity")
        self._pruned_at: timedelta | None = None
        self._lost = 0
        self._troubled = False

    def hear(self, notice: Notice) -> None:
        if not isinstance(notice, Called) or self.retention is None:
            return
        if len(self._waiting) == QUEUE:
            self._lost += 1
        self._waiting.append((self._clock.now(), notice))
        if len(self._waiting) == 1:
            self._called.set()

    def depth(self) -> int:
        """Calls that are not written yet."""
        return len(self._waiting)

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._closing.set()
        self._called.set()
        if self._keeping is not None:
            await self._keeping
        await self._write()
        await self._run(self._file.close)
        self._thread.shutdown(wait=False)

    async def _keep(self) -> None:
        """Never cancelled: a write that is under way is not to be repeated."""
        while not self._closing.is_set():
            await self._called.wait()
            self._called.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY.total_seconds()):
                    await self._closing.wait()
            await self._write()
            if self._waiting:
                self._called.set()

    async def calls(self, wanted: CallFilter, limit: int) -> Sequence[CallRecord]:
        await self._write()
        return await self._run(lambda: self._file.newest(wanted, limit))

    async def calls_after(
        self, wanted: CallFilter, number: int, limit: int
    ) -> Sequence[CallRecord]:
        return await self._run(lambda: self._file.following(wanted, number, limit))

    async def _write(self) -> None:
        """What waits, or as much as the file takes."""
        async with self._writing:
            try:
                await self._write_all()
            except StoreUnavailable as error:
                if not self._troubled:
                    _log.warning("calls cannot be logged now: %s", error.message)
                self._troubled = True
                return
            if self._lost:
                _log.warning("%d calls were not logged: the file did not take them", self._lost)
            self._troubled, self._lost = False, 0

    async def _write_all(self) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, BATCH))
            await self._run(partial(self._add, batch))
            for each in batch:
                # What was lost from a full queue meanwhile was among these.
                if self._waiting and self._waiting[0] is each:
                    self._waiting.popleft()
        await self._prune()

    def _add(self, batch: Sequence[tuple[datetime, Called]]) -> None:
        self._file.add([self._row(at, notice) for at, notice in batch])

    def _row(self, at: datetime, notice: Called) -> Row:
        arguments = notice.arguments
        # Names are what a server gave; a URI or a method that is nobody's may have anything in it.
        what, method = notice.tool, notice.method
        if isinstance(notice, ItemAsked):
            what, method = self._redactor.text(what), self._redactor.text(method)
        return (
            microseconds(at),
            notice.server,
            what,
            notice.outcome,
            notice.duration // _MICROSECOND,
            notice.caller,
            notice.client,
            notice.request_id,
            notice.bytes_in,
            notice.bytes_out,
            None if arguments is None else self._fit(arguments, notice.bytes_in),
            method,
        )

    def _fit(self, arguments: bytes, size: int) -> str:
        """What may be shown of arguments that were `size` bytes long."""
        text = arguments[:MAX_ARGUMENTS].decode(errors="replace")
        if size <= len(arguments) <= MAX_ARGUMENTS:
            return self._redactor.text(text)
        # Half of a secret is not recognised: the word that was cut goes as a whole.
        return self._redactor.text(text[: text.rfind('"') + 1]) + "…"

    async def _prune(self) -> None:
        now, retention = self._clock.elapsed(), self.retention
        if retention is None or (
            self._pruned_at is not None and now - self._pruned_at < PRUNE_EVERY
        ):
            return
        self._pruned_at = now
        before = self._clock.now() - retention.max_age
        await self._run(
            lambda: self._file.prune(
                before=before, records=retention.max_records, size=retention.max_bytes
            )
        )

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError as error:
            raise StoreUnavailable("the log of activity is closed") from error
        return await asyncio.shield(future)
