"""JSON with comments and trailing commas, read with positions.

Law: a syntax error names its line and column; every value knows where it stands, so that an edit
can change it and leave the rest, comments included, as a person wrote it. Imports next to nothing.
"""

import json
import re
from typing import Final, NamedTuple, TypeAlias

from mcpproxy.core.errors import ConfigError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH: Final = 64
"""A configuration is four levels deep; this only keeps nonsense from exhausting the stack."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD: Final = re.compile(r"[A-Za-z0-9+\-._]+")
_WORDS: Final[dict[str, Json]] = {"true": True, "false": False, "null": None}


class Member(NamedTuple):
    """One `"key": value` of an object."""

    key: str
    start: int
    value: "Node"


class Node(NamedTuple):
    """A value and where it stands in the text: `text[start:end]`. `items` are an array's,
    `members` an object's, a key given twice included.
    """

    start: int
    end: int
    scalar: Json = None
    items: "tuple[Node, ...] | None" = None
    members: tuple[Member, ...] | None = None

    def member(self, key: str) -> "Node | None":
        """The last value of this key, as every JSON reader takes it."""
        found = [member.value for member in self.members or () if member.key == key]
        return found[-1] if found else None

    def value(self) -> Json:
        """The plain value, without positions."""
        if self.items is not None:
            return [item.value() for item in self.items]
        if self.members is not None:
            return {member.key: member.value.value() for member in self.members}
        return self.scalar


def parse(text: str) -> Node:
    """The whole text as one value. Raises ConfigError with line and column."""
    return _Reader(text).document()


def position(text: str, offset: int) -> str:
    """`line L, column C`, both from 1."""
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - text.rfind(chr(10), 0, offset)}"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def document(self) -> Node:
        node = self._value(self._blank(0), 0)
        end = self._blank(node.end)
        if end < len(self._text):
            raise self._error(end, "the end of the file")
        return node

    def _value(self, at: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ConfigError(
                f"{position(self._text, at)}: nested more than {MAX_DEPTH} levels deep"
            )
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, depth)
            case "[":
                return self._array(at, depth)
            case '"':
                return self._string(at)
            case _:
                return self._word(at)

    def _word(self, at: int) -> Node:
        word = _WORD.match(self._text, at)
        if word is None:
            raise self._error(at, "a value")
        return Node(at, word.end(), self._scalar(word))

    def _scalar(self, word: re.Match[str]) -> Json:
        if word[0] in _WORDS:
            return _WORDS[word[0]]
        if word[0] in {"NaN", "Infinity", "-Infinity"}:
            raise self._error(word.start(), "a value")
        try:
            return json.loads(word[0])  # type: ignore[no-any-return]
        except ValueError:
            raise self._error(word.start(), "a value") from None

    def _string(self, at: int) -> Node:
        found = _STRING.match(self._text, at)
        try:
            if found is not None:
                return Node(at, found.end(), json.loads(found[0]))
        except ValueError:
            raise ConfigError(
                f"{position(self._text, at)}: this string has an escape that JSON does not know",
                next_step='write a backslash as "\\\\"',
            ) from None
        raise ConfigError(
            f"{position(self._text, at)}: this string does not end on its line",
            next_step='close it with a "',
        )

    def _array(self, start: int, depth: int) -> Node:
        items: list[Node] = []
        at = self._blank(start + 1)
        while self._text[at : at + 1] != "]":
            items.append(self._value(at, depth + 1))
            at = self._separator(items[-1].end, "]")
        return Node(start, at + 1, items=tuple(items))

    def _object(self, start: int, depth: int) -> Node:
        members: list[Member] = []
        at = self._blank(start + 1)
        while self._text[at : at + 1] != "}":
            if self._text[at : at + 1] != '"':
                raise self._error(at, 'a key in "quotes" or "}"')
            key = self._string(at)
            colon = self._blank(key.end)
            if self._text[colon : colon + 1] != ":":
                raise self._error(colon, '":"')
            value = self._value(self._blank(colon + 1), depth + 1)
            members.append(Member(str(key.scalar), at, value))
            at = self._separator(value.end, "}")
        return Node(start, at + 1, members=tuple(members))

    def _separator(self, at: int, close: str) -> int:
        """Past the comma, or on the closing bracket; a comma before it is allowed."""
        at = self._blank(at)
        if self._text[at : at + 1] == ",":
            return self._blank(at + 1)
        if self._text[at : at + 1] != close:
            raise self._error(at, f'"," or "{close}"')
        return at

    def _blank(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return found.end() if found else at

    def _error(self, at: int, expected: str) -> ConfigError:
        # One character is enough to find the place, and too little to be a secret.
        found = f"{self._text[at]!r}" if at < len(self._text) else "the end of the file"
        return ConfigError(f"{position(self._text, at)}: expected {expected}, found {found}")
