"""Grants and token sets for tests: sensible ones, of which a test changes what it is about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mcpproxy.core.model import (
    Attempt,
    ClientRegistration,
    FailureKind,
    Grant,
    RefreshCause,
    RefreshFailure,
    RegistrationSource,
    Secret,
    TokenSet,
)

NOW = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)
SERVER_URL = "https://mcp.example.com/mcp"
ISSUER = "https://auth.example.com"


def a_token_set(
    *,
    number: int = 1,
    issued_at: datetime = NOW,
    life: timedelta | None = timedelta(hours=1),
    refresh_token: str | None = "",
) -> TokenSet:
    """Token set `number`; `refresh_token` None leaves it out."""
    refresh = None if refresh_token is None else Secret(refresh_token or f"refresh-{number}")
    return TokenSet(
        access_token=Secret(f"access-{number}"),
        refresh_token=refresh,
        issued_at=issued_at,
        expires_at=None if life is None else issued_at + life,
    )


def a_client() -> ClientRegistration:
    return ClientRegistration(
        issuer=ISSUER,
        client_id="client-1",
        source=RegistrationSource.DYNAMIC,
        redirect_uri="http://127.0.0.1:49152/oauth/callback",
    )


def a_grant(server: str = "github-mcp", **changes: object) -> Grant:
    """A grant that was logged in at NOW and has an hour to live."""
    grant = Grant(
        server=server,
        server_url=SERVER_URL,
        issuer=ISSUER,
        token_endpoint=f"{ISSUER}/token",
        client=a_client(),
        tokens=a_token_set(),
        logged_in_at=NOW,
        login_id="login-1",
    )
    return replace(grant, **changes)  # type: ignore[arg-type]


def an_attempt(number: int = 1, *, begun_at: datetime = NOW, generation: int = 1) -> Attempt:
    return Attempt(
        attempt_id=f"attempt-{number}",
        begun_at=begun_at,
        generation=generation,
        fingerprint=Secret("refresh-1").fingerprint,
        holder="holder-1",
        cause=RefreshCause.SCHEDULED,
    )


def a_failure(
    kind: FailureKind = FailureKind.TRANSIENT,
    detail: str = "HTTP 503",
    *,
    code: str | None = None,
    retry_at: datetime | None = None,
) -> RefreshFailure:
    return RefreshFailure(kind, detail, code=code, retry_at=retry_at)
