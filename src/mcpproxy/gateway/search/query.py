"""A query as what to look for: one unit for each of its words, each with the terms that count.

Law: what no tool says is spelled differently before it is given up.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from mcpproxy.gateway.search.synonyms import GROUPS_OF, GROUPS_OF_PAIR
from mcpproxy.gateway.search.words import STOP_WORDS, stem, words

# A longer query is not a query any more.
MAX_UNITS: Final = 24
# Words that are looked for in another spelling.
_MAX_UNKNOWN: Final = 8
_MAX_WORDS: Final = 4 * MAX_UNITS
_MAX_TEXT: Final = 2_000

# What a find says by the way it was come by: the word itself, a synonym, a phrase's part, two
# words written as one or one as two, another spelling.
_EXACT: Final = 1.0
_SYNONYM: Final = 0.9
_PART: Final = 0.45
_JOINED: Final = 0.8
_SPELLING: Final = 0.6


class Vocabulary(Protocol):
    def __contains__(self, term: str) -> bool: ...

    def near(self, word: str) -> list[str]:
        """Known words that `word` may have been meant to be."""
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing asked for: terms with their weights."""

    terms: tuple[tuple[str, float], ...]


def units(query: str, known: Vocabulary) -> list[Unit]:
    """What `query` asks for. Words that say nothing are left out."""
    found = words(query[:_MAX_TEXT])[:_MAX_WORDS]
    stems = [stem(word) for word in found]
    asked: dict[str, dict[str, float]] = {}
    unknown: list[str] = []
    for word, root in zip(found, stems, strict=True):
        if word not in STOP_WORDS and root not in asked:
            asked[root] = _of_word(root, known)
            if not asked[root]:
                unknown.append(root)
    for root in unknown[:_MAX_UNKNOWN]:
        asked[root] = _otherwise(root, known)
    for (one, other), (first, second) in zip(pairwise(found), pairwise(stems), strict=True):
        groups = GROUPS_OF_PAIR.get((first, second))
        if groups:
            _phrase(asked, first, second, groups)
        joined = stem(one + other)
        if joined in known and (first in asked or second in asked):
            asked[first if first in asked else second][joined] = _JOINED
    return [Unit(tuple(terms.items())) for terms in asked.values() if terms][:MAX_UNITS]


def _of_word(root: str, known: Vocabulary) -> dict[str, float]:
    terms = dict.fromkeys(GROUPS_OF.get(root, ()), _SYNONYM)
    if root in known:
        terms[root] = _EXACT
    return terms


def _otherwise(root: str, known: Vocabulary) -> dict[str, float]:
    """Two known words written as one, or another spelling."""
    for at in range(3, len(root) - 2):
        first, second = stem(root[:at]), stem(root[at:])
        if first in known and second in known:
            return {first: _PART, second: _PART}
    return dict.fromkeys(known.near(root), _SPELLING)


def _phrase(
    asked: dict[str, dict[str, float]], first: str, second: str, groups: tuple[str, ...]
) -> None:
    """Make one unit of two words that mean something of their own together."""
    parts = {root: _PART for root in (first, second) if root in asked}
    for root in parts:
        del asked[root]
    asked[f"{first} {second}"] = {**parts, **dict.fromkeys(groups, _EXACT)}
