"""Which tools have a term, and how much it says of each: the inverted index itself.

Law: compact, appended to only; what is gone is left out when a search reads it, and for good when
everything is indexed anew.
"""

from array import array
from collections.abc import Iterator, Mapping
from typing import Final

from mcpproxy.gateway.search.spelling import Spelling

LEVELS: Final = 255
"""What a term says of a tool is kept in one byte: level / LEVELS."""


class Postings:
    """Slots by term. It is the `Vocabulary` of queries."""

    def __init__(self) -> None:
        self._slots: dict[str, array[int]] = {}
        self._levels: dict[str, bytearray] = {}
        self._spelling: Spelling | None = None
        self.count = 0

    def __contains__(self, term: str) -> bool:
        return term in self._slots

    def add(self, terms: Mapping[str, float]) -> int:
        """Its slot."""
        slot = self.count
        self.count += 1
        for term, says in terms.items():
            slots = self._slots.get(term)
            if slots is None:
                slots = self._slots[term] = array("I")
                self._levels[term] = bytearray()
                self._spelling = None
            slots.append(slot)
            self._levels[term].append(max(1, round(says * LEVELS)))
        return slot

    def of(self, term: str) -> tuple["array[int]", bytearray]:
        """Slots and levels, side by side; empty for a term that nobody has."""
        return self._slots.get(term, _NONE), self._levels.get(term, _NO_LEVELS)

    def near(self, word: str) -> list[str]:
        if self._spelling is None:
            self._spelling = Spelling(self._words())
        return self._spelling.near(word)

    def _words(self) -> Iterator[str]:
        return (term for term in self._slots if not term.startswith("="))


_NONE: Final = array("I")
_NO_LEVELS: Final = bytearray()
