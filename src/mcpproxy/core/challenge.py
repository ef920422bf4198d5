"""What a server asks for in WWW-Authenticate (RFC 9110 section 11.6.1, RFC 6750, RFC 9728).

Law: pure and lenient; several challenges, in one header or joined from many, are told apart; the
time it takes grows with the header's length and no faster.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_LENGTH: Final = 16 * 1024
"""Longer than any header a server can send to a sane client; the rest is not read."""

_SEPARATORS: Final = re.compile(r"[\s,]*")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EQUALS: Final = re.compile(r"\s*=\s*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|$)', re.DOTALL)
_BARE: Final = re.compile(r'[^\s,"]*')
_TOKEN68: Final = re.compile(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge. `scheme` and parameter names are lower case; of a repeated parameter the
    first counts.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    token68: str | None = None

    @property
    def realm(self) -> str | None:
        return self.parameters.get("realm")

    @property
    def scope(self) -> str | None:
        """The scopes this request needs, separated by spaces."""
        return self.parameters.get("scope") or None

    @property
    def error(self) -> str | None:
        """RFC 6750's word: invalid_request, invalid_token or insufficient_scope."""
        return self.parameters.get("error")

    @property
    def error_description(self) -> str | None:
        return self.parameters.get("error_description")

    @property
    def resource_metadata(self) -> str | None:
        """Where the protected resource metadata is (RFC 9728 section 5.1)."""
        return self.parameters.get("resource_metadata") or None


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Every challenge in the header's order. What cannot be read is left out."""
    header = header[:MAX_LENGTH]
    found: list[tuple[str, dict[str, str], str | None]] = []
    position = 0
    while (position := _skip(_SEPARATORS, header, position)) < len(header):
        name = _NAME.match(header, position)
        if name is None:
            position += 1
            continue
        equals = _EQUALS.match(header, name.end())
        if equals is not None:
            value, position = _value(header, equals.end())
            if found:
                found[-1][1].setdefault(name[0].lower(), value)
            continue
        token68 = _TOKEN68.match(header, name.end())
        found.append((name[0].lower(), {}, token68[1] if token68 else None))
        position = token68.end() if token68 else name.end()
    return tuple(Challenge(*parts) for parts in found)


def bearer_challenge(header: str | None) -> Challenge | None:
    """The first challenge for a bearer token, which is the one OAuth is about."""
    challenges = parse_challenges(header or "")
    return next((one for one in challenges if one.scheme == "bearer"), None)


def _value(header: str, position: int) -> tuple[str, int]:
    quoted = _QUOTED.match(header, position)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    return header[position : (end := _skip(_BARE, header, position))], end


def _skip(pattern: re.Pattern[str], header: str, position: int) -> int:
    match = pattern.match(header, position)
    return match.end() if match else position
