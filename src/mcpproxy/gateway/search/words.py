"""Words of names and sentences, and what is left of a word without its endings.

Law: tools and queries go through the same functions; a stem needs to be the same on both sides,
not to be a word.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W_]+")
# Scripts that are written without spaces: Japanese, Chinese.
_UNSPACED: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_VOWEL: Final = re.compile("[aeiouy]")
# Words of a language come again and again; so many stems are remembered.
_REMEMBERED: Final = 1 << 15
# Longer than any word; what is longer is data.
_MAX_WORD: Final = 40

_SAY_NOTHING: Final = """
    a about above across after again also am an and another any anybody anyone anything are as at
    be because been before being below both but by can cannot could did do does doing done each
    else ever every exactly for from had has have having he her here him his how i if in inside into
    is it its itself just let like ll me more most my of on once only or other our out over own per
    please re s same she should so some somebody someone something such t than that the their them
    then there these they thing things this those through to too under until up us use used uses
    using ve very via want was we were what when where which while who whom whose why will with
    within without would you your
"""
STOP_WORDS: Final = frozenset(_SAY_NOTHING.split())
"""Say nothing about what a tool is for."""


def words(text: str) -> list[str]:
    """The words of a name or sentence: camelCase and snake_case come apart. A word that camelCase
    only divides in two (GitHub) stands whole beside its parts.
    """
    return list(_words(text))


def _words(text: str) -> Iterator[str]:
    for chunk in _WORD.findall(text):
        if not chunk.isascii() and _UNSPACED.search(chunk):
            yield from (chunk[at : at + 2] for at in range(max(1, len(chunk) - 1)))
            continue
        if len(chunk) > _MAX_WORD:
            continue
        if chunk.islower():
            yield chunk
            continue
        parts = _CAMEL.split(chunk)
        for part in parts:
            yield part.lower()
        if len(parts) == 2:
            yield chunk.lower()


@lru_cache(_REMEMBERED)
def stem(word: str) -> str:
    """What `word` has in common with its plural, its tenses and its noun: creates, created,
    creating and creation are all `creat`.
    """
    word = _singular(word)
    word = _without_tense(word)
    for ending, shortest in (("ation", 4), ("ator", 4), ("ate", 4), ("ment", 4)):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= shortest and rest[-1] not in "aeiou":
            return rest
    if word.endswith(("sion", "tion")) and len(word) >= 7:
        return word[:-3]
    if word.endswith(("er", "or")) and len(word) >= 7:
        return word[:-2]
    return word[:-1] if word.endswith("e") and len(word) >= 4 else word


def _singular(word: str) -> str:
    if len(word) < 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    return word[:-1]


def _without_tense(word: str) -> str:
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    rest = word.removesuffix("ing") if word.endswith("ing") else word.removesuffix("ed")
    if rest == word or len(rest) < 3 or rest.endswith("e") or not _VOWEL.search(rest):
        return word
    if rest[-1] == rest[-2] and rest[-1] not in "lsz":
        return rest[:-1]
    # Creating was create, translating was translate; only those have a further ending to lose.
    return f"{rest}e" if rest.endswith("at") and rest[-3] not in "aeiou" else rest
