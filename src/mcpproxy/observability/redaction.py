"""The last defence of secrets: whatever is about to be written loses what looks like one.

Law: nobody relies on this. Secrets are `Secret` objects that do not show themselves; this catches
what a library, an upstream or a traceback might still carry in plain text.
"""

import hashlib
import re
from collections import OrderedDict
from typing import Final

from mcpproxy.core.model import FINGERPRINT_LENGTH, Secret

REDACTED: Final = "[redacted]"

MAX_LEARNED: Final = 8192
"""Fingerprints remembered: tokens of 1,000 logins over several generations."""

_NAMES: Final = (
    r"access_token|refresh_token|id_token|client_secret|client_assertion|code_verifier|"
    r"registration_access_token|api[_-]?key|x-api-key|password|passwd|secret|authorization|"
    r"proxy-authorization|cookie|set-cookie"
)
_SECRET_KEYS: Final = re.compile(rf"(?i)(?:.*[_-])?(?:{_NAMES}|private_key|token)")
_PATTERNS: Final = (
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)"), REDACTED),
    # Longer than the first word of what is wrong with one.
    (
        re.compile(r"""(?i)(\bprivate_key["']?\s*[=:]\s*["']?)[^\s"'&,;}\]]{16,}"""),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {REDACTED}"),
    (
        re.compile(
            rf"""(?i)(["']?\b(?:{_NAMES})["']?\s*[=:]\s*["']?)(?!\[redacted|bearer|basic)"""
            r"""[^\s"'&,;}\]]+"""
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"""(?i)([?&](?:code|state|token|key)=)[^&\s"'#]+"""), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,3}"), REDACTED),
    (
        re.compile(
            r"\b(?:gh[pousr]_|github_pat_|ya29\.|xox[abeprs]-|sk-|glpat-|mcp_agt_)"
            r"[A-Za-z0-9._/-]{8,}"
        ),
        REDACTED,
    ),
    (re.compile(r"(?<![\w/:])1//[A-Za-z0-9_-]{16,}"), REDACTED),
)
_WORD: Final = re.compile(r"[A-Za-z0-9._~+/=-]{12,}")
_EDGES: Final = "._~+/=-"
_MAX_SEGMENTS: Final = 16
_EMPTY: Final = Secret("")


class Redactor:
    """Knows the forms secrets have, and the fingerprints of those it was told of."""

    def __init__(self) -> None:
        self._learned: OrderedDict[str, None] = OrderedDict()

    def learn(self, *secrets: Secret) -> None:
        """Recognise these values wherever they stand as a word of their own; an empty one, such
        as of a login whose first token is still to come, is nowhere.
        """
        for secret in secrets:
            if secret == _EMPTY:
                continue
            self._learned[secret.fingerprint] = None
            self._learned.move_to_end(secret.fingerprint)
        while len(self._learned) > MAX_LEARNED:
            self._learned.popitem(last=False)

    def text(self, text: str) -> str:
        """`text` without anything that looks like a secret."""
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return _WORD.sub(self._word, text) if self._learned else text

    def field(self, name: str, value: object) -> object:
        """A log field's value; a field that is named like a secret loses it whatever it is."""
        if isinstance(value, bool | int | float) or value is None or isinstance(value, Secret):
            return value
        if _SECRET_KEYS.fullmatch(name):
            return REDACTED
        return self.text(value if isinstance(value, str) else repr(value))

    def _word(self, match: re.Match[str]) -> str:
        word = match.group()
        bare = word.strip(_EDGES)
        known = any(map(self._knows, {word, bare, word.rstrip(".=/"), word.rpartition("=")[2]}))
        if known:
            return REDACTED
        if "/" not in bare:
            return word
        # A secret may be one segment of a path, and a slash may be part of a secret.
        parts = word.split("/", _MAX_SEGMENTS)
        return "/".join(REDACTED if self._knows(part) else part for part in parts)

    def _knows(self, value: str) -> bool:
        return hashlib.sha256(value.encode()).hexdigest()[:FINGERPRINT_LENGTH] in self._learned
