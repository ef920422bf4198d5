"""What comes back on the wire: how providers write a good answer, what others put in its place,
and what the way here makes of it.

Law: data and pure functions; which of them meets an exchange is drawn elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from mcpproxy.core.http import HttpReply
from tests.simulation.faults import Fault
from tests.simulation.words import FORM, JSON

HTML: Final[Mapping[str, str]] = {"content-type": "text/html; charset=utf-8"}

CAP: Final = 256 * 1024
"""How much of an answer the product's client reads; a larger one is marked as cut off."""

RETRY_AFTER: Final = 30
"""What the ones that ask for a pause ask for, in seconds."""

ASKS_FOR_A_PAUSE: Final = frozenset(
    {Fault.HTTP_408, Fault.HTTP_429, Fault.HTTP_429_DATE, Fault.HTTP_503_DATE}
)


class Expiry(StrEnum):
    """How a provider writes `expires_in`."""

    NUMBER = "number"
    STRING = "string"
    FLOAT = "float"
    MISSING = "missing"
    ZERO = "zero"
    NEGATIVE = "negative"
    NULL = "null"
    ABSURD = "absurd"
    WORDS = "words"


TELLS: Final = frozenset({Expiry.NUMBER, Expiry.STRING, Expiry.FLOAT})
"""The forms that say how long the token lives; of the others nothing is to be believed."""


class Shape(StrEnum):
    """How a provider writes a whole answer."""

    PLAIN = "plain"
    FORM = "form-encoded"
    CREATED = "201"
    DOUBLED = "duplicate keys"
    LOOSE = "odd types and a byte order mark"


def expires_in(expiry: Expiry, life: float) -> object:
    """The value of the field; None leaves it out."""
    match expiry:
        case Expiry.NUMBER:
            return int(life)
        case Expiry.STRING:
            return str(int(life))
        case Expiry.FLOAT:
            return float(life)
        case Expiry.MISSING:
            return None
        case Expiry.ZERO:
            return 0
        case Expiry.NEGATIVE:
            return -int(life)
        case Expiry.NULL:
            return None
        case Expiry.ABSURD:
            return 10**12
        case Expiry.WORDS:
            return f"{int(life)} seconds"


def written(shape: Shape, fields: Mapping[str, object]) -> HttpReply:
    """A good answer with these fields."""
    match shape:
        case Shape.PLAIN:
            return HttpReply(200, JSON, json.dumps(fields).encode())
        case Shape.FORM:
            return HttpReply(200, FORM, urlencode(fields).encode())
        case Shape.CREATED:
            return HttpReply(201, JSON, json.dumps(fields).encode())
        case Shape.DOUBLED:
            first = dict.fromkeys(fields, "")
            both = json.dumps(first)[:-1] + ", " + json.dumps(fields)[1:]
            return HttpReply(200, JSON, both.encode())
        case Shape.LOOSE:
            odd = {**fields, "scope": ["read", "write"], "token_type": 7, "id_token": None}
            return HttpReply(200, {"content-type": "text/plain"}, b"\xef\xbb\xbf" + _dumped(odd))


def _dumped(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, indent=1).encode()


def _page(status: int, text: str) -> HttpReply:
    return HttpReply(status, HTML, f"<!doctype html><html>{text}</html>".encode())


FOREIGN: Final[Mapping[Fault, HttpReply]] = {
    Fault.HTTP_408: HttpReply(408, {"retry-after": str(RETRY_AFTER)}, b""),
    Fault.HTTP_429: HttpReply(429, {"retry-after": str(RETRY_AFTER)}, b""),
    Fault.HTTP_429_DATE: HttpReply(429, JSON, b'{"error":"rate_limited"}'),
    Fault.HTTP_500: HttpReply(500, JSON, b'{"error":"invalid_grant"}'),
    Fault.HTTP_502: _page(502, "bad gateway"),
    Fault.HTTP_503: _page(503, "upstream unavailable"),
    Fault.HTTP_503_DATE: _page(503, "maintenance"),
    Fault.HTTP_504: HttpReply(504, {}, b""),
    Fault.HTTP_530: _page(530, "error 1016: origin DNS error"),
    Fault.PORTAL: _page(200, "please accept the terms"),
    Fault.REDIRECT: HttpReply(302, {"location": "https://portal.example.com/login"}, b""),
    Fault.WAF_401: _page(401, "attention required"),
    Fault.WAF_403: _page(403, "request blocked"),
    Fault.NOT_FOUND: _page(404, "not found"),
    Fault.BAD_JSON: HttpReply(200, JSON, b'{"ok": '),
    Fault.EMPTY: HttpReply(200, {}, b""),
}
"""Answers that never reached the token endpoint's own code."""


def foreign(fault: Fault, provider_now: datetime) -> HttpReply:
    """What somebody else answers; dates are by the provider's clock."""
    reply = FOREIGN[fault]
    if fault not in (Fault.HTTP_429_DATE, Fault.HTTP_503_DATE):
        return reply
    until = format_datetime(provider_now + timedelta(seconds=RETRY_AFTER), usegmt=True)
    date = format_datetime(provider_now, usegmt=True)
    return replace(reply, headers={**reply.headers, "retry-after": until, "date": date})


def cut(reply: HttpReply, length: int) -> HttpReply:
    """Only the first `length` bytes came."""
    return replace(reply, body=reply.body[:length], complete=False)


def oversized(reply: HttpReply) -> HttpReply:
    """The answer somewhere inside 64 MiB of padding, as far as anybody reads it: its first half
    is there, the end is not.
    """
    half = len(reply.body) // 2
    padded = reply.body[:half].ljust(CAP, b" ")
    return replace(reply, body=padded, complete=False)


def hollow(reply: HttpReply) -> HttpReply:
    """A good answer without its access token."""
    return replace(reply, body=reply.body.replace(b"access_token", b"some_other_token"))
