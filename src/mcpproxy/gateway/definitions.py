"""What a tool's definition says, apart from how it is written, and a digest of it.

Law: every field counts. The order of members, blanks and escapes do not: many servers write them
anew each time they start.
"""

import hashlib
import json
from typing import Any


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def canonical(definition: bytes) -> bytes:
    """The definition with its members sorted and nothing else in it.

    Where a member is repeated readers disagree which one counts, so all of them are kept.
    """
    repeated: list[object] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            repeated.append(pairs)
        return made

    try:
        tree = json.loads(definition, object_pairs_hook=members)
        text = _written([tree, repeated] if repeated else tree)
    except (ValueError, RecursionError):
        return definition  # such as a number with thousands of digits
    # JSON has no bare NUL: nothing else can look like this.
    return text + b"\0" if repeated else text


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
    text = json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")
