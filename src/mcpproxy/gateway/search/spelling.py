"""What a word that no tool has may have been meant to be: the same beginning, or nearly the same
letters.

Law: the first letter is right. That is what makes it quick, and mostly true.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

MAX_NEAR: Final = 5
_SHORTEST: Final = 4
# Two letters may be wrong from this length on; before that only one.
_LONG: Final = 8


class Spelling:
    """Known words, in order."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = sorted(known)

    def near(self, word: str) -> list[str]:
        """At most `MAX_NEAR` known words, the nearest first: those that it begins, those that
        begin it, then those that differ by a letter or two.
        """
        if len(word) < _SHORTEST:
            return []
        longer = self._beginning_with(word)
        shorter = [
            word[:end]
            for end in range(len(word) - 1, max(_SHORTEST, len(word) - 4), -1)
            if self._has(word[:end])
        ]
        found = sorted(longer, key=lambda each: (len(each), each)) + shorter
        if not found:
            found = self._misspelled(word)
        return found[:MAX_NEAR]

    def _has(self, word: str) -> bool:
        at = bisect_left(self._known, word)
        return at < len(self._known) and self._known[at] == word

    def _beginning_with(self, start: str) -> list[str]:
        at = bisect_left(self._known, start)
        return self._known[at : bisect_left(self._known, start + "\U0010ffff", at)]

    def _misspelled(self, word: str) -> list[str]:
        allowed = 2 if len(word) >= _LONG else 1
        letters = set(word)
        near = [
            (distance, each)
            for each in self._beginning_with(word[0])
            if abs(len(each) - len(word)) <= allowed
            and len(letters.difference(each)) <= allowed
            and (distance := _distance(word, each, allowed)) <= allowed
        ]
        return [each for _, each in sorted(near)]


def _distance(one: str, other: str, most: int) -> int:
    """Letters to insert, delete, change or swap with a neighbour; any number over `most` is more
    than `most`.
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]
