"""What providers say when they refuse, in their own words, sorted into meanings.

Law: a table of facts about real providers and the one function that reads it. A word that is
not in it ends nobody's login.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mcpproxy.oauth.body import Fields, text_of


class Meaning(Enum):
    """What an error is about."""

    GRANT = auto()
    """The refresh token (or code) is dead."""
    CLIENT = auto()
    """Our registration is dead."""
    PERSON = auto()
    """The provider wants to see the person again."""
    RESOURCE = auto()
    """The `resource` parameter is not wanted, or not that one."""
    SCOPE = auto()
    """The `scope` parameter is wanted, or not that one."""
    OTHER = auto()
    """Anything else: temporary as far as anybody can know."""


@dataclass(frozen=True, slots=True)
class ErrorWord:
    """An error: its code in RFC 6749's words where there is one, the provider's own words, and
    what it is about. `description` is the provider's text, not yet fit for display.
    """

    code: str
    said: str
    description: str
    meaning: Meaning


CODES: Final[Mapping[str, tuple[Meaning, str]]] = {
    "invalid_grant": (Meaning.GRANT, "invalid_grant"),
    "bad_refresh_token": (Meaning.GRANT, "invalid_grant"),  # GitHub, inside HTTP 200
    "bad_verification_code": (Meaning.GRANT, "invalid_grant"),  # GitHub, for a code
    "invalid_refresh_token": (Meaning.GRANT, "invalid_grant"),  # Slack, Dust
    "invalid_code": (Meaning.GRANT, "invalid_grant"),  # Slack
    "refresh_token_not_found": (Meaning.GRANT, "invalid_grant"),  # Supabase
    "refresh_token_already_used": (Meaning.GRANT, "invalid_grant"),  # Supabase
    "session_not_found": (Meaning.GRANT, "invalid_grant"),  # Supabase, Better Auth
    "session_expired": (Meaning.GRANT, "invalid_grant"),  # Supabase
    "refresh_token_expired": (Meaning.GRANT, "invalid_grant"),
    "refresh_token_revoked": (Meaning.GRANT, "invalid_grant"),
    "refresh_token_invalid": (Meaning.GRANT, "invalid_grant"),
    "expired_token": (Meaning.GRANT, "invalid_grant"),
    "expired_refresh_token": (Meaning.GRANT, "invalid_grant"),
    "revoked_token": (Meaning.GRANT, "invalid_grant"),
    "token_expired": (Meaning.GRANT, "invalid_grant"),  # Slack
    "token_revoked": (Meaning.GRANT, "invalid_grant"),  # Slack
    "token_not_found": (Meaning.GRANT, "invalid_grant"),
    "invalid_token": (Meaning.GRANT, "invalid_grant"),
    "account_inactive": (Meaning.GRANT, "invalid_grant"),  # Slack
    "interaction_required": (Meaning.PERSON, "interaction_required"),
    "login_required": (Meaning.PERSON, "login_required"),
    "consent_required": (Meaning.PERSON, "consent_required"),
    "mfa_required": (Meaning.PERSON, "interaction_required"),  # Auth0
    "invalid_client": (Meaning.CLIENT, "invalid_client"),
    "unauthorized_client": (Meaning.CLIENT, "unauthorized_client"),
    "incorrect_client_credentials": (Meaning.CLIENT, "invalid_client"),  # GitHub
    "invalid_client_id": (Meaning.CLIENT, "invalid_client"),  # Slack
    "bad_client_secret": (Meaning.CLIENT, "invalid_client"),  # Slack
    "invalid_target": (Meaning.RESOURCE, "invalid_target"),
    "invalid_resource": (Meaning.RESOURCE, "invalid_target"),
    "invalid_scope": (Meaning.SCOPE, "invalid_scope"),
}

ENTRA: Final[tuple[tuple[re.Pattern[str], Meaning], ...]] = (
    (re.compile(r"AADSTS(9010010|901002|50001)\b"), Meaning.RESOURCE),
    (re.compile(r"AADSTS(90009|900144|70011)\b"), Meaning.SCOPE),
)
"""Microsoft Entra puts what it means into the description."""

DEAD: Final = (
    r"invalid|expired|revoked|unknown|inactive|malformed|not\s+found|no\s+longer|not\s+exist"
    r"|already|reuse|used|not\s+valid|not\s+recogni[sz]ed"
)
REFRESH_TOKEN: Final = r"refresh[\s_-]*token"  # noqa: S105 - a pattern, not a token
DEAD_REFRESH_TOKEN: Final = re.compile(
    rf"{REFRESH_TOKEN}.*\b({DEAD})\b|\b({DEAD})\b.*{REFRESH_TOKEN}|\b(token|session|grant)\s+not\s+found",
    re.IGNORECASE | re.DOTALL,
)
"""A description of a refresh token's death, whatever the code beside it says."""

VAGUE: Final = frozenset({"invalid_request", "unauthorized_client", "unauthorized", ""})
"""Codes that some providers put on a dead refresh token: Metabase, Better Auth and FlowFuse the
first, Atlassian the second. There the description decides."""

CLEAR_STATUSES: Final = frozenset({400, 401, 403})
"""With one of these a sentence about the refresh token is enough, without any code."""

SCOPE_WANTED: Final = re.compile(
    r"scope['\"]?.*\b(required|missing)\b|\b(required|missing|must\s+contain)\b.*\bscope\b",
    re.IGNORECASE | re.DOTALL,
)
RESOURCE_UNWANTED: Final = re.compile(
    r"\bresource['\"]?\b.*\bparameter|\bparameter.*\bresource\b", re.I
)

CODE: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,63})\s*(?::.*)?", re.DOTALL)
"""A code alone, or "code: what it means"; a sentence is a description."""

MAX_DESCRIPTION: Final = 500


def error_word(fields: Fields, status: int) -> ErrorWord | None:
    """The error these fields tell of; None when they tell of none."""
    said, description = _said(fields)
    if not said and not (status in CLEAR_STATUSES and DEAD_REFRESH_TOKEN.search(description)):
        return ErrorWord("", "", description, Meaning.OTHER) if fields.get("ok") is False else None
    meaning, code = CODES.get(said, (Meaning.OTHER, said))
    for pattern, about in ENTRA:
        if pattern.search(description):
            meaning = about
    if said in VAGUE:
        if DEAD_REFRESH_TOKEN.search(description):
            meaning, code = Meaning.GRANT, "invalid_grant"
        elif said == "invalid_request" and SCOPE_WANTED.search(description):
            meaning = Meaning.SCOPE
        elif said == "invalid_request" and RESOURCE_UNWANTED.search(description):
            meaning = Meaning.RESOURCE
    return ErrorWord(code, said, description, meaning)


def _said(fields: Fields) -> tuple[str, str]:
    """The error code and the description, wherever the provider put them."""
    error: object = fields.get("error")
    nested: Fields = error if isinstance(error, Mapping) else {}
    listed = fields.get("errors")
    if not nested and isinstance(listed, list) and listed and isinstance(listed[0], Mapping):
        nested = listed[0]
    codes = (
        error,
        *(nested.get(name) for name in ("code", "error", "type")),
        *(fields.get(name) for name in ("error_code", "errorCode", "code")),
    )
    texts = (
        *(fields.get(name) for name in ("error_description", "error_message", "message", "msg")),
        *(nested.get(name) for name in ("message", "description", "detail")),
        fields.get("detail"),
        error,
    )
    said = next((code for value in codes if (code := _code(value))), "")
    description = next((text for value in texts if (text := text_of(value))), "")
    return said, description[:MAX_DESCRIPTION]


def _code(value: object) -> str | None:
    text = text_of(value)
    match = CODE.fullmatch(text) if text else None
    return match[1].lower() if match else None
