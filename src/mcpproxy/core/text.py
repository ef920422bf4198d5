"""Text that somebody else wrote, made safe to show.

Law: what reaches a terminal or a log line holds no control character, no escape sequence and no
character that reorders or hides its neighbours; such characters are shown by their code instead.
"""

import re
from typing import Final

_UNSAFE: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: escape sequences begin here
    "\u00ad\u061c\u180e"  # soft hyphen, Arabic letter mark, Mongolian vowel separator
    "\u200b-\u200f"  # zero-width characters and direction marks
    "\u2028-\u202e"  # line and paragraph separators, embeddings and overrides
    "\u2060-\u206f"  # word joiner, isolates, deprecated format characters
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotation
    "\ud800-\udfff"  # lone surrogates cannot be encoded
    "\U000e0000-\U000e007f"  # tag characters
    "]"
)


def escape_unsafe(text: str) -> str:
    """`text` on one line: every unsafe character as `\\xNN`, `\\uNNNN` or `\\UNNNNNNNN`."""
    return _UNSAFE.sub(_code, text)


def escape_lines(text: str) -> str:
    """The same, but line feeds stay: for text that may have several lines."""
    return "\n".join(escape_unsafe(line) for line in text.split("\n"))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; what was cut is marked with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _code(match: re.Match[str]) -> str:
    point = ord(match.group())
    if point <= 0xFF:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"
