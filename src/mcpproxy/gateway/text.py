"""Words of upstreams, made fit for one short line of a log, a table or an error."""

from typing import Final

from mcpproxy.core.text import escape_unsafe, shorten

_LIMIT: Final = 200


def short(words: str, limit: int = _LIMIT) -> str:
    """At most `limit` characters on one line, with white space folded and nothing unsafe in it."""
    return shorten(escape_unsafe(" ".join(words[: limit * 4].split())), limit)
