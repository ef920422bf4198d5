"""How token endpoints say no, in the forms that real ones use, and the OAuth code each stands for.

Law: the judge's own dictionary; what the product makes of a refusal is compared with this.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlencode

from mcpproxy.core.http import HttpReply

JSON: Final[Mapping[str, str]] = {"content-type": "application/json"}
FORM: Final[Mapping[str, str]] = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Word:
    """One error: what stands on the wire, and the code of RFC 6749 that it means."""

    code: str
    reply: HttpReply


def _json(code: str, status: int, **fields: object) -> Word:
    return Word(code, HttpReply(status, JSON, json.dumps(fields).encode()))


def _plain(code: str, status: int = 400) -> Word:
    return _json(code, status, error=code, error_description=f"told by the provider: {code}")


class Dialect(Enum):
    """How a provider says that a refresh token is dead."""

    STANDARD = _plain("invalid_grant")
    INSIDE_200 = Word(
        "invalid_grant",
        HttpReply(
            200,
            FORM,
            urlencode(
                {"error": "bad_refresh_token", "error_description": "The token is incorrect."}
            ).encode(),
        ),
    )
    OK_IS_FALSE = _json("invalid_grant", 200, ok=False, error="invalid_refresh_token")
    WRONG_CODE = _json(
        "invalid_grant",
        403,
        error="unauthorized_client",
        error_description="refresh_token is invalid",
    )
    VAGUE = _json(
        "invalid_grant", 400, error="invalid_request", error_description="Invalid refresh token"
    )
    NO_CODE = _json("invalid_grant", 401, message="Refresh token not found")
    NESTED = _json("invalid_grant", 400, error={"code": "refresh_token_expired", "message": "x"})


DEAD_CLIENT: Final = _plain("invalid_client", 401)

UNWANTED_RESOURCE: Final = _plain("invalid_target")
WANTED_SCOPE: Final = _plain("invalid_scope")

REFUSALS: Final = (
    *(dialect.value for dialect in Dialect),
    DEAD_CLIENT,
    _plain("unauthorized_client"),
    _plain("interaction_required"),
    _plain("login_required"),
    _plain("consent_required"),
)
"""Words that end a login, if they are meant."""

PASSING: Final = (
    *(
        _plain(code)
        for code in (
            "server_error",
            "temporarily_unavailable",
            "slow_down",
            "invalid_request",
            "unsupported_grant_type",
            "access_denied",
            "authorization_pending",
            "unsupported_token_type",
        )
    ),
    _plain("temporarily_unavailable", 200),
    _plain("server_error", 500),
    _plain("invalid_grant", 503),
    _plain("rate_limit_exceeded", 403),
)
"""Words that end nothing, whatever their status: a server in trouble may say anything."""
