"""Search over all tools: BM25F with synonyms, in memory.

Law: derived data. It follows the catalog in small slices between which the event loop runs on, and
a tool that did not change is not indexed again.
"""

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Iterator
from typing import Final

from mcpproxy.gateway.catalog import Entry
from mcpproxy.gateway.search.document import done_by, terms
from mcpproxy.gateway.search.intent import Action, action, suits
from mcpproxy.gateway.search.postings import LEVELS, Postings
from mcpproxy.gateway.search.query import Unit, units
from mcpproxy.gateway.search.words import words

# About two milliseconds of work.
_SLICE: Final = 12
# Slots of tools that are gone cost every search a little; so many more than living ones are too
# many, and a few are not worth the work.
_FEW: Final = 256
# What a tool is worth that has none of the things asked for but one, against one that has all.
_PARTIAL: Final = 0.1
# A thing that is asked for is there when the tool says it with this part of the strength it could.
_ENOUGH: Final = 0.35
# So many times as many tools as wanted are judged by all they have of what was asked.
_JUDGED: Final = 4


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
        for _ in self._slices():
            await asyncio.sleep(0)

    def _begin(self) -> None:
        """Index in the background, where there is an event loop to do it."""
        if self._task is None or self._task.done():
            with contextlib.suppress(RuntimeError):
                self._task = asyncio.get_running_loop().create_task(self.settle())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def settle_now(self) -> None:
        """The same without a pause, for whoever has no event loop."""
        for _ in self._slices():
            pass

    def search(
        self, query: str, limit: int, allowed: Callable[[Entry], bool] = _everything
    ) -> list[tuple[Entry, float]]:
        """Tools with their scores, best first."""
        asked = units(query, self._postings)
        if not asked or limit < 1:
            return []
        wants = action(words(query)[:5])
        scores, shares = self._scores(asked)
        candidates = [slot for slot, score in enumerate(scores) if score]
        wanted = limit * _JUDGED
        while True:
            best = heapq.nlargest(wanted, candidates, key=scores.__getitem__)
            found = [
                (entry, _judged(scores[slot], shares[slot]) * suits(wants, self._done[slot]))
                for slot in best
                if (entry := self._entries[slot]) is not None and allowed(entry)
            ]
            if len(found) >= limit or len(best) < wanted:
                found.sort(key=lambda pair: (-pair[1], pair[0].id))
                return [(entry, round(score, 3)) for entry, score in found[:limit]]
            wanted *= _JUDGED

    # --- scores ---------------------------------------------------------------------------

    def _scores(self, asked: list[Unit]) -> tuple[list[float], list[float]]:
        """For each slot its score, and the share of what was asked for that it has."""
        scores = [0.0] * self._postings.count
        shares = [0.0] * self._postings.count
        worths = [self._worth(unit) for unit in asked]
        total = sum(worths) or 1.0
        for unit, worth in zip(asked, worths, strict=True):
            had = self._of_unit(unit)
            share = worth / total
            for slot, score in had.items():
                scores[slot] += score
                shares[slot] += min(share, share * score / (worth * _ENOUGH))
        return scores, shares

    def _of_unit(self, unit: Unit) -> dict[int, float]:
        had: dict[int, float] = {}
        get = had.get
        for term, weight in unit.terms:
            slots, levels = self._postings.of(term)
            worth = weight * self._rarity(len(slots)) / LEVELS
            by_level = [worth * level for level in range(LEVELS + 1)]
            for slot, level in zip(slots, levels, strict=True):
                had[slot] = get(slot, 0.0) + by_level[level]
        return had

    def _worth(self, unit: Unit) -> float:
        return max(
            weight * self._rarity(len(self._postings.of(term)[0])) for term, weight in unit.terms
        )

    def _rarity(self, having: int) -> float:
        return math.log(1 + (self._postings.count - having + 0.5) / (having + 0.5))

    # --- following the catalog ------------------------------------------------------------

    def _slices(self) -> Iterator[None]:
        if len(self._entries) > 2 * len(self._slots) + _FEW and not self._renewing:
            yield from self._anew()
        left = len(self._pending)
        while left > 0 and self._pending:
            for _ in range(min(_SLICE, left, len(self._pending))):
                tool = next(iter(self._pending))
                self._put(tool, self._pending.pop(tool))
                left -= 1
            yield

    def _put(self, tool: str, entry: Entry | None) -> None:
        old = self._slots.pop(tool, None)
        if old is not None:
            self._entries[old] = None
        if entry is not None:
            self._slots[tool] = self._postings.add(terms(entry))
            self._entries.append(entry)
            self._done.append(done_by(entry))

    def _anew(self) -> Iterator[None]:
        """All living tools into fresh postings; the old ones serve until they are whole."""
        self._renewing = True
        fresh, entries = Postings(), list[Entry | None]()
        done: list[Action | None] = []
        for at, entry in enumerate([entry for entry in self._entries if entry is not None]):
            fresh.add(terms(entry))
            entries.append(entry)
            done.append(done_by(entry))
            if at % _SLICE == 0:
                yield
        slots = {entry.id: slot for slot, entry in enumerate(entries) if entry is not None}
        # What was put or taken away meanwhile is done once more.
        for tool, slot in self._slots.items():
            if tool not in slots or self._entries[slot] is not entries[slots[tool]]:
                self._pending.setdefault(tool, self._entries[slot])
        for tool in slots.keys() - self._slots.keys():
            self._pending.setdefault(tool, None)
        self._postings, self._entries, self._slots = fresh, entries, slots
        self._done = done
        self._renewing = False


def _judged(score: float, share: float) -> float:
    return score * (_PARTIAL + (1 - _PARTIAL) * share)
