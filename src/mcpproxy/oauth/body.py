"""The body of a token endpoint's answer as plain fields, however the provider wrote it.

JSON or form-encoded, with a byte order mark, duplicate keys, wrong types or its end missing.
Law: lenient in reading, and never raises, whatever the bytes.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import Secret, TokenSet

MAX_LIFE: Final = timedelta(days=3660)
"""Ten years. A longer life than this is nonsense or 'for ever': then only a 401 tells."""

REFRESH_LIVES: Final = (
    "refresh_expires_in",
    "refresh_token_expires_in",
    "x_refresh_token_expires_in",
)
"""Where providers say how long the refresh token lives (Keycloak; GitHub, Slack; Intuit)."""

STRING_FIELD: Final = re.compile(
    r'"(access_token|refresh_token|scope|token_type|expires_in)"\s*:\s*'
    r'(?:"((?:[^"\\\x00-\x1f]|\\.)*)"|(-?\d+(?:\.\d+)?)(?=[\s,}]))'
)
"""A whole field in a body that is broken elsewhere. A number counts once something ends it."""

VISIBLE: Final = re.compile(r"[\x21-\x7e]+")

Fields = Mapping[str, object]


def read_fields(reply: HttpReply) -> Fields | None:
    """The answer's fields; None when it holds none that can be told apart. A form that broke off
    is none: nothing in it says where it should have ended.
    """
    text = reply.body.decode("utf-8-sig", errors="replace").strip()
    if not text:
        return None
    if text[0] in "{[":
        return _json_fields(text)
    return _form_fields(text) if reply.complete else None


def salvage_fields(reply: HttpReply) -> Fields:
    """The whole fields that a broken body still holds; of a form all but the last."""
    text = reply.body.decode("utf-8-sig", errors="replace").strip()
    if text[:1] not in ("{", "["):
        return _form_fields(text.rpartition("&")[0]) or {}
    found: dict[str, object] = {}
    for name, string, number in STRING_FIELD.findall(text):
        if number:
            found[name] = number
            continue
        try:
            value = json.loads(f'"{string}"')
        except ValueError:
            continue
        if value:
            found[name] = value
    return found


def looks_like_page(reply: HttpReply) -> bool:
    """Whether this is a web page: a portal or firewall answered, not the token endpoint."""
    kind = reply.headers.get("content-type", "").lower()
    start = reply.body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    html = kind.startswith(("text/html", "application/xhtml"))
    return start.startswith(b"<") or (
        html and not start.startswith(b"{") and b"_token=" not in reply.body
    )


def text_of(value: object) -> str | None:
    """A non-empty string, stripped; None for anything else."""
    return value.strip() or None if isinstance(value, str) else None


def token_of(value: object) -> Secret | None:
    """A token that can travel in a header: visible ASCII without spaces."""
    text = text_of(value)
    return Secret(text) if text and VISIBLE.fullmatch(text) else None


def tokens_of(fields: Fields, issued_at: datetime) -> TokenSet | None:
    """The token set in these fields; None without a usable access token.

    Whatever `token_type` says, the token is presented as a bearer token: providers write
    "bearer", "BEARER", "user" or nothing.
    """
    access_token = token_of(fields.get("access_token"))
    if access_token is None:
        return None
    life = life_of(fields.get("expires_in"))
    return TokenSet(
        access_token=access_token,
        refresh_token=token_of(fields.get("refresh_token")),
        issued_at=issued_at,
        expires_at=None if life is None else _later(issued_at, life),
        scope=scope_of(fields.get("scope")),
        refresh_expires_at=_refresh_end(fields, issued_at),
    )


def _refresh_end(fields: Fields, issued_at: datetime) -> datetime | None:
    """When the refresh token ends; what cannot be believed is not known."""
    for name in REFRESH_LIVES:
        life = life_of(fields.get(name))
        if life is not None:
            return _later(issued_at, life)
    return None


def life_of(value: object) -> timedelta | None:
    """`expires_in` as a duration. Missing, zero, negative or absurd is None: not known."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(seconds) or not 1 <= seconds <= MAX_LIFE.total_seconds():
        return None
    return timedelta(seconds=seconds)


def scope_of(value: object) -> str | None:
    """A scope as one string of space-separated names; some providers send a list."""
    if isinstance(value, list):
        value = " ".join(name for name in value if isinstance(name, str))
    return " ".join(VISIBLE.findall(value)) or None if isinstance(value, str) else None


def _later(moment: datetime, life: timedelta) -> datetime | None:
    try:
        return moment + life
    except OverflowError:
        return None


def _json_fields(text: str) -> Fields | None:
    """Whole numbers are read as floats: a number with 5,000 digits is then infinite, no error."""
    try:
        parsed = json.loads(text, object_pairs_hook=_last_usable, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _last_usable(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Of duplicate keys the last wins, as everywhere, unless it holds nothing."""
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name not in fields or value not in (None, ""):
            fields[name] = value
    return fields


def _form_fields(text: str) -> Fields | None:
    if "=" not in text or any(character in text for character in "<>{}\n"):
        return None
    try:
        pairs = parse_qsl(text, max_num_fields=100)
    except ValueError:
        return None
    return _last_usable(pairs) or None
