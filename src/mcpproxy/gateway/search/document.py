"""What of a tool is searched, and how much each word says about it.

Law: a pure function of the tool; what a hostile definition can make of it is bounded.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import msgspec

from mcpproxy.gateway.catalog import Entry
from mcpproxy.gateway.search.intent import Action, action
from mcpproxy.gateway.search.synonyms import GROUPS_OF, GROUPS_OF_PAIR
from mcpproxy.gateway.search.words import STOP_WORDS, stem, words
from mcpproxy.gateway.tools import Effect

# Weights of the fields, and the usual number of words in them. A word in a name says most.
_NAME: Final = (5.0, 3)
_TITLE: Final = (2.0, 3)
_SERVER: Final = (3.5, 1)
_HEAD: Final = (2.2, 12)
_REST: Final = (0.6, 40)
_PARAMETERS: Final = (1.0, 5)
_DETAILS: Final = (0.4, 40)
# How much longer fields than usual dilute their words (BM25's b), and how soon a word that comes
# again says nothing new (its k1).
_DILUTION: Final = 0.65
_SATURATION: Final = 5.0

# Longer texts and larger schemas say no more about what a tool is for.
_MAX_TEXT: Final = 4_000
_MAX_PARAMETERS: Final = 60
_MAX_ENUM: Final = 30
_MAX_SCHEMA: Final = 256 * 1024
# Words of a language come again and again; so many are remembered.
_REMEMBERED: Final = 1 << 14
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s|\n")


class _Schema(msgspec.Struct):
    properties: Any = None


class _Definition(msgspec.Struct):
    title: str | None = None
    inputSchema: _Schema = msgspec.field(default_factory=_Schema)


_decode: Final = msgspec.json.Decoder(_Definition).decode


def done_by(entry: Entry) -> Action | None:
    """What a tool does, by its annotations, else its name, else how its description begins."""
    if entry.tool.effect is Effect.READ:
        return Action.LOOK
    return action(words(entry.tool.name)) or action(words(entry.tool.description[:60])[:3])


def terms(entry: Entry) -> dict[str, float]:
    """The stems and synonym groups of a tool, each with what it says: from 0 to nearly 1."""
    weights: dict[str, float] = {}
    get = weights.get
    for text, (weight, usual) in _fields(entry):
        found = words(text)
        share = weight / (1 - _DILUTION + _DILUTION * len(found) / usual)
        for word in found:
            for term in _meaning(word):
                weights[term] = get(term, 0.0) + share
        for pair in pairwise(map(stem, found)):
            for group in GROUPS_OF_PAIR.get(pair, ()):
                weights[group] = get(group, 0.0) + share
    return {term: weight / (_SATURATION + weight) for term, weight in weights.items()}


@lru_cache(_REMEMBERED)
def _meaning(word: str) -> tuple[str, ...]:
    """The terms of one word."""
    root = stem(word)
    return () if word in STOP_WORDS else (root, *GROUPS_OF.get(root, ()))


def _fields(entry: Entry) -> Iterator[tuple[str, tuple[float, int]]]:
    yield entry.tool.name, _NAME
    yield entry.server, _SERVER
    head, *rest = _SENTENCE.split(entry.tool.description.strip()[:_MAX_TEXT], maxsplit=1)
    yield head, _HEAD
    yield from ((text, _REST) for text in rest)
    definition = _definition(entry)
    if definition.title:
        yield definition.title[:_MAX_TEXT], _TITLE
    properties = definition.inputSchema.properties
    if isinstance(properties, dict):
        shown = list(properties.items())[:_MAX_PARAMETERS]
        yield " ".join(name for name, _ in shown)[:_MAX_TEXT], _PARAMETERS
        yield " ".join(_details(value for _, value in shown))[:_MAX_TEXT], _DETAILS


def _details(parameters: Iterable[object]) -> Iterator[str]:
    for parameter in parameters:
        if not isinstance(parameter, dict):
            continue
        if isinstance(parameter.get("description"), str):
            yield parameter["description"]
        if isinstance(parameter.get("enum"), list):
            yield from (each for each in parameter["enum"][:_MAX_ENUM] if isinstance(each, str))


def _definition(entry: Entry) -> _Definition:
    if len(entry.tool.definition) > _MAX_SCHEMA:
        return _Definition()
    try:
        return _decode(entry.tool.definition)
    except (msgspec.DecodeError, RecursionError):
        return _Definition()
