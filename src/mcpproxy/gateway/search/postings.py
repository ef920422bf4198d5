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
        self._lists: dict[str, tuple[array[int], bytearray]] = {}
        self._spelling: Spelling | None = None
        self.count = 0

    def __contains__(self, term: str) -> bool:
        return term in self._lists

    def add(self, terms: Mapping[str, float]) -> int:
        """Its slot."""
        slot = self.count
        self.count += 1
        lists = self._lists
        for term, says in terms.items():
            found = lists.get(term)
            if found is None:
                found = lists[term] = (array("I"), bytearray())
                self._spelling = None
            found[0].append(slot)
            found[1].append(int(says * LEVELS) or 1)
        return slot

    def of(self, term: str) -> tuple["array[int]", bytearray]:
        """Slots and levels, side by side; empty for a term that nobody has."""
        return self._lists.get(term, _NOBODY)

    def near(self, word: str) -> list[str]:
        if self._spelling is None:
            self._spelling = Spelling(self._words())
        return self._spelling.near(word)

    def _words(self) -> Iterator[str]:
        return (term for term in self._lists if not term.startswith("="))


_NOBODY: Final = (array("I"), bytearray())
