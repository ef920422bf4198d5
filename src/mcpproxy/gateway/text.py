"""Words from outside, made fit to be shown: short, on one line, without control characters."""

import unicodedata
from typing import Final

_LIMIT: Final = 200


def short(words: str, limit: int = _LIMIT) -> str:
    """At most `limit` characters on one line; control and direction characters become spaces."""
    clean = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in words[: limit * 4])
    flat = " ".join(clean.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
