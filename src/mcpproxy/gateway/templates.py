"""Whether a URI may have been made from a URI template (RFC 6570).

Law: a hostile template costs a bounded time. What is allowed between the literals is taken
generously: who offers the template decides in the end whether there is such a resource.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mcpproxy.gateway.items import MAX_URI

_EXPRESSION: Final = re.compile(r"\{([^{}]*)\}")
# Their values may hold anything; those of the others hold no slash.
_FREE: Final = ("+", "#", "/", "?", "&", ";", ".")
_MAX_PARTS: Final = 64


@dataclass(frozen=True, slots=True)
class _Gap:
    """What an expression becomes: anything, or anything without a slash."""

    is_free: bool


_Parts = tuple["str | _Gap", ...]


def matches(template: str, uri: str) -> bool:
    """Whether the whole URI fits the template."""
    if len(uri) > MAX_URI:
        return False
    ends = {0}
    for part in _parts(template):
        if isinstance(part, str):
            ends = {end + len(part) for end in ends if uri.startswith(part, end)}
        else:
            ends = _after_gap(part, uri, ends)
        if not ends:
            return False
    return len(uri) in ends


def _after_gap(gap: _Gap, uri: str, starts: set[int]) -> set[int]:
    """Where a gap that begins at one of these places may end."""
    if gap.is_free:
        return set(range(min(starts), len(uri) + 1))
    ends: set[int] = set()
    for start in sorted(starts):
        if start in ends:
            continue
        slash = uri.find("/", start)
        ends.update(range(start, (len(uri) if slash < 0 else slash) + 1))
    return ends


@lru_cache(maxsize=1024)
def _parts(template: str) -> _Parts:
    """Literals and gaps in turn; a template of too many parts matches nothing."""
    parts: list[str | _Gap] = []
    at = 0
    for found in _EXPRESSION.finditer(template):
        if found.start() > at:
            parts.append(template[at : found.start()])
        parts.append(_Gap(found[1].startswith(_FREE) or found[1].endswith("*")))
        at = found.end()
    if at < len(template):
        parts.append(template[at:])
    return tuple(parts) if len(parts) <= _MAX_PARTS else ("\0",)
