"""Grants, logins, answers and a scripted network for the tests of this room."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import (
    AuthMethod,
    ClientRegistration,
    FailureKind,
    Grant,
    RefreshFailure,
    RegistrationSource,
    Secret,
    TokenSet,
)

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
SERVER = "https://mcp.example/mcp"
ISSUER = "https://auth.example"
REDIRECT = "http://127.0.0.1:4711/oauth/callback"

CLIENT = ClientRegistration(
    issuer=ISSUER, client_id="client-1", source=RegistrationSource.DYNAMIC, redirect_uri=REDIRECT
)
SECRET_CLIENT = replace(
    CLIENT,
    client_id="id:with/odd chars",
    client_secret=Secret("s3cret&=%"),
    auth_method=AuthMethod.SECRET_BASIC,
)
GRANT = Grant(
    server="example",
    server_url=SERVER,
    issuer=ISSUER,
    token_endpoint=f"{ISSUER}/token",
    client=CLIENT,
    tokens=TokenSet(
        access_token=Secret("old-access-token"),
        refresh_token=Secret("old-refresh-token"),
        issued_at=NOW - timedelta(hours=1),
        expires_at=NOW,
    ),
    logged_in_at=NOW - timedelta(days=3),
    login_id="login-1",
    resource=SERVER,
    scope="read offline_access",
    revocation_endpoint=f"{ISSUER}/revoke",
)


class FixedClock:
    """The `Clock` of a world in which no time passes unless a test says so."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def elapsed(self) -> timedelta:
        return self.time - NOW

    def suspended(self) -> timedelta:
        return timedelta(0)


def answer(
    status: int = 200,
    body: str | bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    complete: bool = True,
) -> HttpReply:
    raw = body.encode() if isinstance(body, str) else body
    return HttpReply(status, headers or {}, raw, complete)


def nothing(detail: str = "connection refused") -> NoReply:
    return NoReply(RefreshFailure(FailureKind.NOT_SENT, detail))


class Network:
    """An `HttpSender` that is a table of "METHOD url" to replies; anything else is 404.

    `requests` is what was sent, in order. A list of replies is used up one by one.
    """

    def __init__(self, replies: Mapping[str, HttpReply | NoReply | list[HttpReply | NoReply]]):
        self.replies = dict(replies)
        self.requests: list[HttpRequest] = []

    async def exchange(
        self, request: HttpRequest, *, before_send: Callable[[], Awaitable[None]] | None = None
    ) -> HttpReply | NoReply:
        if before_send is not None:
            await before_send()
        self.requests.append(request)
        reply = self.replies.get(f"{request.method} {request.url}", answer(404))
        return reply.pop(0) if isinstance(reply, list) else reply

    @property
    def log(self) -> list[str]:
        return [f"{request.method} {request.url}" for request in self.requests]
