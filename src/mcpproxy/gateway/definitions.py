"""What a tool's definition says, apart from how it is written, and a digest of it.

Law: every field counts. The order of members, blanks and escapes do not: many servers write them
anew each time they start.
"""

import hashlib
import json
import math
from typing import Any

import msgspec


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def canonical(definition: bytes) -> bytes:
    """The definition with its members sorted and nothing else in it.

    Where a member is repeated readers disagree which one counts, so all of them are kept.
    """
    try:
        tree = msgspec.json.decode(definition)
        if msgspec.json.encode(tree) == definition:
            # Written as we would have: so nothing of it is lost in what was read.
            return msgspec.json.encode(tree, order="sorted")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return _carefully(definition)


def _carefully(definition: bytes) -> bytes:
    """The same, at leisure, for what is written in another way."""
    odd: list[object] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            odd.append(pairs)
        return made

    def number(text: str) -> float:
        if math.isinf(value := float(text)):
            odd.append(text)
        return value

    try:
        tree = json.loads(definition, object_pairs_hook=members, parse_float=number)
        text = _written([tree, odd] if odd else tree)
    except (ValueError, RecursionError):
        return definition  # such as a number with thousands of digits
    # JSON has no bare NUL: nothing else can look like this.
    return text + b"\0" if odd else text


def readable(text: bytes) -> list[str]:
    """A canonical definition in lines, for a person or a comparison."""
    try:
        tree = json.loads(text.removesuffix(b"\0") or b"null")
        shown = json.dumps(tree, indent=2, ensure_ascii=False, sort_keys=True)
        lines = shown.encode(errors="backslashreplace").decode().split("\n")
    except (ValueError, RecursionError):
        return [text.decode(errors="replace")]
    return [] if tree is None else lines


def _written(tree: object) -> bytes:
    try:
        return msgspec.json.encode(tree, order="sorted")
    except (msgspec.MsgspecError, ValueError, OverflowError):
        # Half a surrogate pair, or a number of more than 64 bits.
        text = json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")
