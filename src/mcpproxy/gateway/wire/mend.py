"""Messages that are not quite JSON: mended where that is safe, else traced to their request.

Law: asked only after a message could not be read; linear in its size, whatever it holds.
"""

import re
from typing import Final

_HIGH: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Half of a surrogate pair: a high one without its low one, or a low one without its high one.
_HALF: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!" + _LOW + rb")"
    rb"|(?<!" + _HIGH + rb"\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
# A text has a half or two where it was cut; more than this is no text, and mending takes time.
_MAX_HALVES: Final = 10_000
# Backslashes that escape each other before it, as far as they are counted.
_LONGEST_RUN: Final = 1024
_ID: Final = re.compile(rb'"id"\s{0,8}:\s{0,8}"?(\d{1,18})"?\s{0,8}[,}]')


def mended(body: bytes) -> bytes:
    """The body with U+FFFD for every half of a surrogate pair.

    JavaScript writes such a half when a text is cut inside a character, and JSON allows it (RFC
    8259 section 8.2); msgspec does not.
    """
    return _HALF.sub(_replacement, body, _MAX_HALVES) if b"\\u" in body else body


def _replacement(half: re.Match[bytes]) -> bytes:
    before = half.string[max(0, half.start() - _LONGEST_RUN) : half.start()]
    escaped = (len(before) - len(before.rstrip(b"\\"))) % 2 == 1
    return half.group() if escaped else b"\\ufffd"


def ids_in(body: bytes) -> frozenset[int]:
    """The ids that a response which cannot be read may have; none when it looks like no response.

    Programs write all sorts of things beside their messages, parts of messages too.
    """
    if not body.lstrip().startswith(b"{") or b'"jsonrpc"' not in body:
        return frozenset()
    if b'"result"' not in body and b'"error"' not in body:
        return frozenset()
    return frozenset(map(int, _ID.findall(body)))
