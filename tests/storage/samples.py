"""Grants, logins and registrations for tests of storage."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import (
    AssertionAudience,
    Attempt,
    AuthMethod,
    ClientRegistration,
    FailureKind,
    FailureRun,
    Grant,
    GrantType,
    Learned,
    Phase,
    RefreshCause,
    RefreshFailure,
    Refusals,
    RegistrationSource,
    Secret,
    Suspect,
    TokenSet,
    Variant,
)
from mcpproxy.core.pending_login import PendingLogin

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ISSUER = "https://provider.example"
REDIRECT = "http://127.0.0.1:41999/oauth/callback"
CANARIES = tuple(f"canary-{number}-5f1c9e" for number in range(8))


def a_registration(issuer: str = ISSUER, redirect_uri: str = REDIRECT) -> ClientRegistration:
    return ClientRegistration(
        issuer=issuer,
        client_id="client-1",
        source=RegistrationSource.DYNAMIC,
        redirect_uri=redirect_uri,
        auth_method=AuthMethod.SECRET_BASIC,
        client_secret=Secret(CANARIES[0]),
        registration_uri=f"{ISSUER}/register/client-1",
        registration_token=Secret(CANARIES[1]),
    )


def a_token_set(mark: str = "1") -> TokenSet:
    return TokenSet(
        access_token=Secret(f"{CANARIES[2]}-{mark}"),
        refresh_token=Secret(f"{CANARIES[3]}-{mark}"),
        issued_at=NOON,
        expires_at=NOON + timedelta(hours=1),
        scope="tools",
    )


def a_grant(server: str = "github-mcp", *, login_id: str = "login-1") -> Grant:
    return Grant(
        server=server,
        server_url=f"https://{server}.example/mcp",
        issuer=ISSUER,
        token_endpoint=f"{ISSUER}/token",
        client=a_registration(),
        tokens=a_token_set(),
        logged_in_at=NOON,
        login_id=login_id,
    )


def a_grant_in_trouble(server: str = "github-mcp") -> Grant:
    """Every optional field that the first version knew is set."""
    failure = RefreshFailure(
        FailureKind.REFUSED, "said no", code="invalid_grant", status=400, retry_at=NOON
    )
    return replace(
        a_grant(server),
        resource=f"https://{server}.example/mcp",
        scope="tools",
        revocation_endpoint=f"{ISSUER}/revoke",
        refreshed_at=NOON,
        refresh_count=3,
        last_begun_at=NOON,
        attempt=Attempt(
            attempt_id="attempt-1",
            begun_at=NOON,
            generation=1,
            fingerprint="01234567",
            holder="17-abcd",
            cause=RefreshCause.RESEND,
            phase=Phase.SENDING,
            answer=Secret(f'{{"access_token":"{CANARIES[4]}"}}'),
        ),
        failures=FailureRun(2, NOON, NOON + timedelta(microseconds=1), failure),
        refusals=Refusals(1, NOON, NOON, failure),
        unanswered=1,
        rejected="89abcdef",
        rejected_at=NOON,
        rejections=2,
        spares=(a_token_set("spare-1"), a_token_set("spare-2")),
    )


def a_grant_with_everything(server: str = "github-mcp") -> Grant:
    """Every field of today is set, to something that is not its default."""
    failure = RefreshFailure(
        FailureKind.TRANSIENT, "a sign-in page", status=302, suspect=Suspect.PORTAL
    )
    made = a_grant_in_trouble(server)
    return replace(
        made,
        generation=41,
        revision=97,
        client=replace(
            a_registration(),
            auth_method=AuthMethod.SECRET_POST,
            secret_expires_at=NOON + timedelta(days=90),
            private_key=Secret(CANARIES[7]),
            key_id="key-1",
            signing_alg="ES256",
            assertion_audience=AssertionAudience.ENDPOINT,
            grant_types=("authorization_code", "refresh_token"),
        ),
        tokens=replace(a_token_set(), refresh_expires_at=NOON + timedelta(days=30)),
        variant=Variant.NO_RESOURCE,
        failures=FailureRun(7, NOON, NOON + timedelta(minutes=5), failure, window_open=True),
        refusals=made.refusals and replace(made.refusals, repaired=1),
        grant_type=GrantType.DEVICE_CODE,
        learned=Learned(True, timedelta(hours=1), 3, NOON + timedelta(days=30), refuses_early=True),
        repair_tried_at=NOON + timedelta(minutes=1),
        told_generation=40,
    )


def a_line(
    server: str = "github-mcp", *, number: int = 1, outcome: Outcome = Outcome.TRANSIENT
) -> LedgerLine:
    """Every field is set; `number` tells lines apart."""
    return LedgerLine(
        server=server,
        login_id="login-1",
        at=NOON + timedelta(minutes=number),
        outcome=outcome,
        generation=number,
        duration=timedelta(milliseconds=1500),
        attempt_id=f"attempt-{number}",
        cause=RefreshCause.SCHEDULED.value,
        holder="4711",
        fingerprint="01234567",
        new_fingerprint="89abcdef",
        code="temporarily_unavailable",
        status=503,
        detail="try again later",
    )


def a_login(flow_id: str = "flow-1", *, state: str = "state-1") -> PendingLogin:
    return PendingLogin(
        flow_id=flow_id,
        server="github-mcp",
        server_url="https://github-mcp.example/mcp",
        state=Secret(state),
        code_verifier=Secret(CANARIES[5]),
        issuer=ISSUER,
        token_endpoint=f"{ISSUER}/token",
        client=a_registration(),
        authorization_url=f"{ISSUER}/authorize?state={state}",
        redirect_uri=REDIRECT,
        created_at=NOON,
        expires_at=NOON + timedelta(minutes=10),
        iss_required=True,
        answer=Secret(CANARIES[6]),
    )
