"""Search over all tools: BM25F with synonyms, in memory.

Law: derived data. It follows the catalog in small slices between which the event loop runs on, and
a tool that did not change is not indexed again.
"""

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Iterator
from typing import Final

from mcpproxy.gateway.catalog import Entry
from mcpproxy.gateway.search.document import done_by, terms
from mcpproxy.gateway.search.intent import Action, action, suits
from mcpproxy.gateway.search.postings import Postings
from mcpproxy.gateway.search.query import units
from mcpproxy.gateway.search.ranking import Ranking
from mcpproxy.gateway.search.words import words

# Bytes of definitions to be indexed at once: about two milliseconds of work; and what a tool costs
# however small it is.
_SLICE: Final = 10_000
_OVERHEAD: Final = 200
# Seconds between two slices while nobody searches: a call takes several turns of the loop, and
# would wait for a slice in each of them.
_REST: Final = 0.004
# Slots of tools that are gone cost every search a little; so many more than living ones are too
# many, and a few are not worth the work.
_FEW: Final = 256
# So many times as many tools as wanted are judged by all they have of what was asked.
_JUDGED: Final = 4
_LEAST: Final = 100
# What is asked for stands at the beginning of a query.
_OPENING: Final = 5


def _everything(entry: Entry) -> bool:
    return True


class ToolIndex:
    """Finds tools by what they are about."""

    def __init__(self) -> None:
        self._wanted: dict[str, dict[str, Entry]] = {}
        self._pending: dict[str, Entry | None] = {}
        self._postings = Postings()
        self._entries: list[Entry | None] = []
        self._done: list[Action | None] = []
        self._slots: dict[str, int] = {}
        self._renewing = False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Tools that are indexed."""
        return len(self._slots)

    @property
    def slots(self) -> int:
        """Tools that were indexed since everything was indexed anew, those that are gone too."""
        return len(self._entries)

    @property
    def waiting(self) -> int:
        """Tools that are still to be indexed, or to be forgotten."""
        return len(self._pending)

    def replace(self, server: str, entries: tuple[Entry, ...]) -> None:
        """A server offers this now. It is found once `settle` has come to it."""
        before = self._wanted.get(server, {})
        after = {entry.id: entry for entry in entries}
        self._pending.update((tool, None) for tool in before if tool not in after)
        self._pending.update(
            (tool, entry) for tool, entry in after.items() if before.get(tool) != entry
        )
        self._wanted[server] = after
        if not after:
            del self._wanted[server]
        self._begin()

    async def settle(self) -> None:
        """Index what there was to index when this was called; others run in between."""
        for _ in self.slices():
            await asyncio.sleep(0)

    def _begin(self) -> None:
        """Index in the background, where there is an event loop to do it."""
        if self._task is None or self._task.done():
            with contextlib.suppress(RuntimeError):
                self._task = asyncio.get_running_loop().create_task(self._keep_up())

    async def _keep_up(self) -> None:
        while self._pending:
            for _ in self.slices():
                await asyncio.sleep(_REST)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def settle_now(self) -> None:
        """The same without a pause, for whoever has no event loop."""
        for _ in self.slices():
            pass

    def search(
        self, query: str, limit: int, allowed: Callable[[Entry], bool] = _everything
    ) -> list[tuple[Entry, float]]:
        """Tools with their scores, best first."""
        asked = units(query, self._postings)
        if not asked or limit < 1:
            return []
        wants = action(words(query)[:_OPENING])
        ranking = Ranking(self._postings, asked)
        guesses = ranking.candidates()
        wanted = max(limit * _JUDGED, _LEAST)
        while True:
            best = heapq.nlargest(wanted, guesses, key=guesses.__getitem__)
            found = [
                (entry, ranking.score(slot) * suits(wants, self._done[slot]))
                for slot in best
                if (entry := self._entries[slot]) is not None and allowed(entry)
            ]
            if len(found) >= limit:
                break
            if len(best) == wanted:
                wanted *= _JUDGED
            # Those who may see little find what they may see by common words, too.
            elif len(found) < min(limit, len(best) or 1) and ranking.widen():
                guesses = ranking.candidates()
            else:
                break
        found.sort(key=lambda pair: (-pair[1], pair[0].id))
        return [(entry, round(score, 3)) for entry, score in found[:limit]]

    # --- following the catalog ------------------------------------------------------------

    def slices(self) -> Iterator[None]:
        """The work that waits, a little at a time."""
        if len(self._entries) > 2 * len(self._slots) + _FEW and not self._renewing:
            self._renewing = True
            try:
                yield from self._anew()
            finally:
                self._renewing = False
        left, size = len(self._pending), 0
        while left > 0 and self._pending:
            tool = next(iter(self._pending))
            size += self._put(tool, self._pending.pop(tool))
            left -= 1
            if size >= _SLICE:
                size = 0
                yield

    def _put(self, tool: str, entry: Entry | None) -> int:
        """What it cost, in bytes of definitions."""
        old = self._slots.pop(tool, None)
        if old is not None:
            self._entries[old] = None
        if entry is None:
            return _OVERHEAD
        self._slots[tool] = self._postings.add(terms(entry))
        self._entries.append(entry)
        self._done.append(done_by(entry))
        return _OVERHEAD + len(entry.definition)

    def _anew(self) -> Iterator[None]:
        """All living tools into fresh postings; the old ones serve until they are whole."""
        fresh, size = Postings(), 0
        entries: list[Entry | None] = []
        done: list[Action | None] = []
        slots: dict[str, int] = {}
        for entry in [entry for entry in self._entries if entry is not None]:
            slots[entry.id] = fresh.add(terms(entry))
            entries.append(entry)
            done.append(done_by(entry))
            size += _OVERHEAD + len(entry.definition)
            if size >= _SLICE:
                size = 0
                yield
        # What was put or taken away meanwhile is done once more.
        for tool, slot in self._slots.items():
            if tool not in slots or self._entries[slot] is not entries[slots[tool]]:
                self._pending.setdefault(tool, self._entries[slot])
        for tool in slots.keys() - self._slots.keys():
            self._pending.setdefault(tool, None)
        self._postings, self._entries, self._done, self._slots = fresh, entries, done, slots
