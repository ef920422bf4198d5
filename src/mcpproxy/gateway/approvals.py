"""What was approved, in memory before its store.

Law: a person's approval is durable before it counts. What was trusted at first sight counts at
once and is written soon; if that is lost, it is seen for the first time again. What is known is
not forgotten for something new, or a server could make us forget what it was trusted for: only
what no person named or approved of, and its server has not offered for a month, makes room.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from mcpproxy.core.approvals import Approval, Trust
from mcpproxy.core.errors import NotReady, StoreError
from mcpproxy.core.ports import ApprovalStore

RETRY: Final = timedelta(seconds=10)
"""Between two tries at a store that does not answer."""

LOAD_WAIT: Final = timedelta(seconds=2)
"""How long a start waits for it; upstreams take longer than that to connect."""

ROWS: Final = 1000
"""Written in one transaction: the vault has logins to keep meanwhile."""

PAUSE: Final = timedelta(seconds=1)
"""Between two rounds of writing: a server may change its tools as often as it likes."""

MAX_FIRST_SEEN: Final = 20_000
"""Definitions known of one server, as many as it may list: beyond, none is trusted unseen."""

MAX_APPROVED: Final = 40_000
"""And as many more by a person; as many as the store keeps."""

SEEN_AGAIN: Final = timedelta(days=7)
"""So often it is written that a known name is still offered: not a row at every list."""

UNWATCHED: Final = timedelta(days=14)
"""A server that listed nothing for so long (or a clock that jumped) left nothing out."""

FORGOTTEN_AFTER: Final = timedelta(days=30)
"""A name that was not offered for so long may be forgotten where there is no room."""

_log = logging.getLogger("mcpproxy.approvals")


@dataclass(frozen=True, slots=True)
class Known:
    """The digests of one approved definition."""

    digest: str
    wire_digest: str
    trust: Trust
    seen_at: datetime


class NoStore:
    """An ApprovalStore that keeps nothing: every start is a first sight."""

    async def load_approvals(self) -> Sequence[Approval]:
        return ()

    async def save_approvals(self, approvals: Sequence[Approval]) -> None:
        return None

    async def note_seen(self, server: str, tools: Sequence[str], at: datetime) -> None:
        return None

    async def forget_approvals(self, server: str, tools: Sequence[str]) -> None:
        return None


class Approvals:
    """`find` and `trust` never wait; `keep` does the writing."""

    def __init__(self, store: ApprovalStore) -> None:
        self._store = store
        self._known: dict[str, dict[str, Known]] = {}
        self._unwritten: dict[tuple[str, str], Approval] = {}
        self._seen: dict[str, set[str]] = {}
        self._forgotten: dict[str, set[str]] = {}
        self._due = asyncio.Event()
        self._writing = asyncio.Lock()
        self._troubled = False
        self._keeping: asyncio.Task[None] | None = None
        self.loaded = False

    def find(self, server: str, tool: str) -> Known | None:
        return self._known.get(server, {}).get(tool)

    def offered(self, server: str, tools: Collection[str], now: datetime, named: Set[str]) -> None:
        """The server lists these, before any of them is looked at: they are not forgotten, and for
        new ones room is made. `named` are tools that a person named.
        """
        known = self._known.get(server)
        if not known:
            return
        # This one also bears when there was a list at all: nothing known may have been on it.
        newest = max(known, key=lambda each: known[each].seen_at)
        is_watched = now - known[newest].seen_at <= UNWATCHED
        for tool in known.keys() & {*tools, newest} if is_watched else list(known):
            if now - known[tool].seen_at >= SEEN_AGAIN:
                known[tool] = replace(known[tool], seen_at=now)
                self._seen.setdefault(server, set()).add(tool)
                self._due.set()
        lacking = len(known.keys() | tools) - MAX_FIRST_SEEN
        for tool in islice(_forgettable(known, now, named), max(0, lacking)):
            del known[tool]
            self._unwritten.pop((server, tool), None)
            self._seen.get(server, set()).discard(tool)
            self._forgotten.setdefault(server, set()).add(tool)
            self._due.set()

    def has_room(self, server: str, tool: str) -> bool:
        """Whether this could be trusted unseen."""
        of_server = self._known.get(server, {})
        return tool in of_server or len(of_server) < MAX_FIRST_SEEN

    def trust(self, approval: Approval) -> None:
        """From now on, and written soon; there must be room. What a person approved of once stays
        theirs.
        """
        known = self.find(approval.server, approval.tool)
        if known is not None and known.trust is Trust.PERSON:
            approval = replace(approval, trust=Trust.PERSON)
        self._put(approval)
        self._unwritten[approval.server, approval.tool] = approval
        self._due.set()

    def note_wire(self, server: str, tool: str, wire_digest: str) -> None:
        """The same definition came in other bytes: for this run it is known by those."""
        known = self._known[server][tool]
        self._known[server][tool] = replace(known, wire_digest=wire_digest)

    async def approve(self, approvals: Sequence[Approval]) -> None:
        """A person did, of one server's. Raises NotReady, StoreError; nothing is approved then."""
        self._check_room(approvals)
        async with self._writing:
            await self._store.save_approvals(approvals)
        for each in approvals:
            self._put(each)
            self._unwritten.pop((each.server, each.tool), None)

    async def texts(self) -> dict[tuple[str, str], bytes]:
        """The approved definitions themselves. Raises StoreError."""
        stored = await self._store.load_approvals()
        texts = {(each.server, each.tool): each.definition for each in stored}
        texts.update((key, each.definition) for key, each in self._unwritten.items())
        return texts

    async def start(self, loaded: Callable[[], None]) -> None:
        """Begin to `keep`; returns when all was read, or after LOAD_WAIT."""
        ready = asyncio.Event()

        def is_loaded() -> None:
            ready.set()
            loaded()

        self._keeping = asyncio.create_task(self.keep(is_loaded))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOAD_WAIT.total_seconds()):
                await ready.wait()

    async def stop(self) -> None:
        """Write what is not written, if the store takes it."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            await self._tried(self.write)

    async def keep(self, loaded: Callable[[], None]) -> None:
        """Read what there is, call `loaded`, and write from then on; ends by cancellation."""
        await self._until_done(self._load)
        loaded()
        while True:
            await self._due.wait()
            self._due.clear()
            await self._until_done(self.write)
            await asyncio.sleep(PAUSE.total_seconds())

    async def write(self) -> None:
        """Everything that is not written yet. Raises StoreError."""
        async with self._writing:
            for server, gone in list(self._forgotten.items()):
                while batch := list(islice(gone, ROWS)):
                    await self._store.forget_approvals(server, batch)
                    gone.difference_update(batch)
            while rows := list(self._unwritten.values())[:ROWS]:
                await self._store.save_approvals(rows)
                for each in rows:
                    if self._unwritten.get((each.server, each.tool)) is each:
                        del self._unwritten[each.server, each.tool]
            for server, seen in list(self._seen.items()):
                known = self._known[server]
                while noted := list(islice(seen, ROWS)):
                    last = max(known[tool].seen_at for tool in noted)
                    await self._store.note_seen(server, noted, last)
                    seen.difference_update(noted)

    async def _load(self) -> None:
        for each in await self._store.load_approvals():
            self._put(each)
        self.loaded = True

    async def _until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        done = await self._tried(work)
        while not done:
            await asyncio.sleep(RETRY.total_seconds())
            done = await self._tried(work)

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except StoreError as error:
            if not self._troubled:
                _log.warning("approvals cannot be read or kept now: %s", error.message)
            self._troubled = True
            return False
        self._troubled = False
        return True

    def _put(self, approval: Approval) -> None:
        of_server = self._known.setdefault(approval.server, {})
        of_server[approval.tool] = Known(
            approval.digest,
            approval.wire_digest,
            approval.trust,
            approval.seen_at or approval.approved_at,
        )
        self._forgotten.get(approval.server, set()).discard(approval.tool)

    def _check_room(self, approvals: Sequence[Approval]) -> None:
        for server in {each.server for each in approvals}:
            tools = {each.tool for each in approvals if each.server == server}
            if len(tools.union(self._known.get(server, ()))) > MAX_APPROVED:
                raise NotReady(
                    f"{MAX_APPROVED} definitions of {server} are known, as many as are kept",
                    next_step="add the server under another name",
                )


def _forgettable(known: dict[str, Known], now: datetime, named: Set[str]) -> Iterator[str]:
    """The names that may be forgotten, those first that were offered longest ago."""
    for tool in sorted(known, key=lambda each: known[each].seen_at):
        if now - known[tool].seen_at < FORGOTTEN_AFTER:
            return
        if known[tool].trust is Trust.FIRST_SIGHT and tool not in named:
            yield tool
