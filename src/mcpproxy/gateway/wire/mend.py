"""Messages that are not quite JSON: mended where that is safe, else traced to their request.

Law: asked only after a message could not be read; linear in its size, whatever it holds.
"""

import re
from typing import Final

_HIGH: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Half of a surrogate pair; an even number of backslashes before it escape each other.
_HALF: Final = re.compile(
    rb"((?<!\\)(?:\\\\)*)(?:" + _HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW + rb")"
)
_ID: Final = re.compile(rb'"id"\s*:\s*"?(\d{1,18})"?\s*[,}]')


def mended(body: bytes) -> bytes:
    """The body with U+FFFD for every half of a surrogate pair.

    JavaScript writes such a half when a text is cut inside a character, and JSON allows it (RFC
    8259 section 8.2); msgspec does not.
    """
    return _HALF.sub(rb"\1\\ufffd", body) if b"\\u" in body else body


def ids_in(body: bytes) -> frozenset[int]:
    """The ids that a response which cannot be read may have; none when it looks like no response.

    Programs write all sorts of things beside their messages, parts of messages too.
    """
    if not body.lstrip().startswith(b"{") or b'"jsonrpc"' not in body:
        return frozenset()
    if b'"result"' not in body and b'"error"' not in body:
        return frozenset()
    return frozenset(map(int, _ID.findall(body)))
