"""Takes an upstream's own secrets out of the words that are kept or shown of it.

Law: literal, and only where a text about an upstream is made: its errors and its log lines. What
a caller asked for passes untouched. A message in flight only notes which token it carries.
"""

import base64
import binascii
import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.gateway.text import short

REDACTED: Final = "[redacted]"

# Tokens in use at one time: the one that was refused, the one that took its place, and answers
# that come late.
_KEPT_TOKENS: Final = 16
# Anything shorter would be found everywhere: `1`, `true`, `8080`.
_SHORTEST: Final = 6
# So much of a secret tells which one it is; less of one that was cut off is left as it is.
_HEAD: Final = 8
_ELLIPSIS: Final = "…"

_Error = TypeVar("_Error", bound=McpproxyError)


class Scrubber:
    """The secrets of one upstream: what is configured, and the tokens it was sent last."""

    def __init__(self, upstream: Upstream) -> None:
        configured = (*upstream.headers.values(), *upstream.env.values())
        self._configured = tuple(value.reveal() for value in configured)
        self._last: Secret | None = None
        self._tokens: OrderedDict[str, None] = OrderedDict()
        self._forms: dict[str, list[str]] = {}
        self._heads: re.Pattern[str] | None = None

    def sent(self, token: Secret) -> None:
        """This token goes out now. Costs nothing while it is the same one."""
        if token is self._last:
            return
        self._last = token
        self._tokens[token.reveal()] = None
        self._tokens.move_to_end(token.reveal())
        while len(self._tokens) > _KEPT_TOKENS:
            self._tokens.popitem(last=False)
        self._heads = None

    def text(self, words: str) -> str:
        """`words` without any of the secrets, and without the beginning of one cut off."""
        heads = self._heads or self._learn()
        kept: list[str] = []
        position = 0
        begin = 0
        while (match := heads.search(words, begin)) is not None:
            end = self._end(words, match.start(), match.group())
            if end is None:
                begin = match.start() + 1
                continue
            kept += (words[position : match.start()], REDACTED)
            position = begin = end
        return "".join((*kept, words[position:])) if kept else words

    def error(self, error: _Error) -> _Error:
        """The same error, with its words scrubbed."""
        error.message = self.text(error.message)
        error.next_step = self.text(error.next_step)
        error.args = (error.message,)
        return error

    def _learn(self) -> re.Pattern[str]:
        """Done when a text is made, so that a new token costs the call that carries it nothing."""
        self._forms = {}
        for value in (*filter(_may_be_secret, self._configured), *self._tokens):
            for form in _forms(value):
                self._forms.setdefault(form[:_HEAD], []).append(form)
        for forms in self._forms.values():
            forms.sort(key=len, reverse=True)
        heads = sorted(self._forms, key=len, reverse=True)
        self._heads = re.compile("|".join(map(re.escape, heads)) if heads else r"(?!)")
        return self._heads

    def _end(self, words: str, start: int, head: str) -> int | None:
        """Where the secret that begins at `start` ends; None when it is only a likeness."""
        for form in self._forms[head]:
            if words.startswith(form, start):
                return start + len(form)
        cut = words.find(_ELLIPSIS, start)
        end = len(words) if cut < 0 else cut
        rest = words[start:end]
        return end if any(form.startswith(rest) for form in self._forms[head]) else None


def _may_be_secret(value: str) -> bool:
    """A file or folder of this machine is none, and it stands in most lines about a program."""
    try:
        return not (Path(value).is_absolute() and Path(value).exists())
    except (OSError, ValueError):
        return True


def _forms(value: str) -> set[str]:
    """How a value may be repeated: as it is, folded, quoted, in base64."""
    found: set[str] = set()
    for part in _parts(value):
        encoded = base64.b64encode(part.encode(errors="replace")).decode()
        found |= {
            part,
            part.lower(),
            short(part, len(part) + 1),
            json.dumps(part)[1:-1],
            json.dumps(part, ensure_ascii=False)[1:-1],
            quote(part, safe="", errors="replace"),
            encoded,
            encoded.rstrip("="),
        }
    return {form for form in found if len(form) >= _SHORTEST}


def _parts(value: str) -> Iterator[str]:
    """The value, its credentials without their scheme, and a password without its user."""
    yield value
    scheme, _, credentials = value.partition(" ")
    if not credentials:
        return
    yield credentials
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield pair
        yield pair.partition(":")[2]
