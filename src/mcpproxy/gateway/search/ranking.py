"""How well tools answer one query: BM25F over its units, and how many of the units a tool has.

Law: a search takes about the same time whatever there is. Rare words name the candidates; what
common words add is looked up for those only.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mcpproxy.gateway.search.postings import LEVELS, Postings
from mcpproxy.gateway.search.query import Unit

# Postings that are read through for one query: about a millisecond.
_BUDGET: Final = 6_000
# What a tool is worth that has next to nothing of what was asked for, against one that has all.
_PARTIAL: Final = 0.1
# A thing that is asked for is there when the tool says it with this part of the strength it could.
_ENOUGH: Final = 0.35


@dataclass(frozen=True, slots=True)
class _Common:
    """A term that too many tools have: what one level of it is worth, and who has it."""

    worth: float
    slots: "array[int]"
    levels: bytearray

    def score(self, slot: int) -> float:
        at = bisect_left(self.slots, slot)
        if at == len(self.slots) or self.slots[at] != slot:
            return 0.0
        return self.worth * self.levels[at]


@dataclass(slots=True)
class _Asked:
    """One unit of the query: what tools have of it, so far as it was read through."""

    most: float = 0.0
    had: dict[int, float] = field(default_factory=dict)
    common: list[_Common] = field(default_factory=list)

    def score(self, slot: int) -> float:
        return self.had.get(slot, 0.0) + sum(each.score(slot) for each in self.common)


class Ranking:
    """The candidates for one query, and their scores."""

    def __init__(self, postings: Postings, units: Sequence[Unit]) -> None:
        self._postings = postings
        self._asked = [_Asked() for _ in units]
        terms = [
            (len(postings.of(term)[0]), at, weight, term)
            for at, unit in enumerate(units)
            for term, weight in unit.terms
        ]
        left = _BUDGET
        for having, at, weight, term in sorted(terms):
            asked, worth = self._asked[at], weight * self._rarity(having)
            asked.most = max(asked.most, worth if having else 0.0)
            slots, levels = postings.of(term)
            if having <= left or left == _BUDGET:
                _read(asked.had, worth / LEVELS, slots, levels)
            else:
                asked.common.append(_Common(worth / LEVELS, slots, levels))
            left -= having
        self._total = sum(asked.most for asked in self._asked) or 1.0

    def candidates(self) -> dict[int, float]:
        """Slots of tools that have some of what was asked for, with a first guess of the score."""
        guesses: dict[int, float] = {}
        get = guesses.get
        for asked in self._asked:
            for slot, score in asked.had.items():
                guesses[slot] = get(slot, 0.0) + score
        return guesses

    def widen(self) -> bool:
        """Let the common words name candidates too; whether there were any that did not."""
        unread = [(asked, each) for asked in self._asked for each in asked.common]
        for asked, each in unread:
            _read(asked.had, each.worth, each.slots, each.levels)
            asked.common = []
        return bool(unread)

    def score(self, slot: int) -> float:
        total = share = 0.0
        for asked in self._asked:
            score = asked.score(slot)
            if score:
                total += score
                share += min(asked.most, score / _ENOUGH)
        return total * (_PARTIAL + (1 - _PARTIAL) * share / self._total)

    def _rarity(self, having: int) -> float:
        return math.log(1 + (self._postings.count - having + 0.5) / (having + 0.5))


def _read(had: dict[int, float], worth: float, slots: "array[int]", levels: bytearray) -> None:
    by_level = [worth * level for level in range(LEVELS + 1)]
    get = had.get
    for slot, level in zip(slots, levels, strict=True):
        had[slot] = get(slot, 0.0) + by_level[level]
