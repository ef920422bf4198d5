"""For every cause the facts that make it, and the words that they lead to."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import StoreTrouble
from mcpproxy.core.health import Seeding, Snapshot
from mcpproxy.core.model import (
    FailureKind,
    FailureRun,
    GrantType,
    Learned,
    RefreshFailure,
    Refusals,
    RegistrationSource,
    Suspect,
)
from tests.builders import NOW, a_client, a_grant, a_token_set

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
CONNECTED = Connection(ConnectionState.CONNECTED, tool_count=5)
NEEDS_LOGIN = Connection(ConnectionState.ERROR, trouble=Trouble.LOGIN_NEEDED, since=NOW + SECOND)
DEAD = a_token_set(issued_at=NOW - timedelta(hours=2))
DUE = a_token_set(issued_at=NOW - timedelta(minutes=48))
WITHOUT_REFRESH = a_token_set(refresh_token=None)


@dataclass(frozen=True)
class Example:
    """Facts, and the line, detail and action that they lead to."""

    snapshot: Snapshot
    line: str
    detail: str = ""
    action: str = ""


def of(**changes: object) -> Snapshot:
    """A connected server with this login."""
    grant = replace(a_grant(), **changes)  # type: ignore[arg-type]
    return Snapshot(connection=CONNECTED, grant=grant)


def failing(
    kind: FailureKind,
    detail: str,
    *,
    status: int | None = None,
    wait: timedelta | None = None,
    suspect: Suspect | None = None,
) -> FailureRun:
    """The second failure in a row; `wait` is what the provider asked for."""
    retry_at = NOW + wait if wait else None
    failure = RefreshFailure(kind, detail, None, status, retry_at, suspect)
    return FailureRun(2, NOW - 20 * SECOND, NOW, failure)


def refused(count: int, code: str = "invalid_grant") -> Refusals:
    return Refusals(count, NOW, NOW, RefreshFailure(FailureKind.REFUSED, code, code, 400))


def down(trouble: Trouble, *, error: str = "because") -> Snapshot:
    retry_at = NOW + 30 * SECOND
    connection = Connection(ConnectionState.ERROR, trouble=trouble, error=error, retry_at=retry_at)
    return Snapshot(connection=connection)


def rejected(times: int) -> Snapshot:
    return of(rejected="0123abcd", rejected_at=NOW, rejections=times, last_begun_at=NOW)


CREDENTIALS = a_grant(grant_type=GrantType.CLIENT_CREDENTIALS, refusals=refused(2, "bad_secret"))
CONFIGURED = replace(a_client(), source=RegistrationSource.CONFIGURED)
AT_10, AT_20, AT_40 = (f"2026-01-12T14:00:{second}Z" for second in (10, 20, 40))

EXAMPLES: Final = {
    "disabled": Example(Snapshot(enabled=False), "Disabled", action="enable"),
    "quarantined": Example(
        Snapshot(quarantined=True),
        "Quarantined - approval required",
        "Nothing of this server is offered until it is approved",
        "approve",
    ),
    "key_locked": Example(
        Snapshot(connection=NEEDS_LOGIN, store_trouble=StoreTrouble.KEY_LOCKED),
        "Stored logins are locked",
        "The key that opens the stored logins cannot be read now; nothing is lost",
        "configure",
    ),
    "store_unreadable": Example(
        Snapshot(connection=NEEDS_LOGIN, store_trouble=StoreTrouble.UNAVAILABLE),
        "Logins cannot be read or kept now: the store is unavailable",
        "the store is unavailable; what is stored is not lost, and whether a login is needed "
        "shows once the store works again",
        "view_logs",
    ),
    "login_pending": Example(
        Snapshot(login_until=NOW + 600 * SECOND),
        "Login in progress - waiting for the browser",
        "Waiting for the browser until 2026-01-12T14:10:00Z",
        "login",
    ),
    "credentials_retrying": Example(
        Snapshot(seeding=Seeding("HTTP 503", NOW + 10 * SECOND)),
        "Fetching a token with client credentials: HTTP 503; retry in 10s",
        f"HTTP 503; next try at {AT_10}. No login is needed",
        "view_logs",
    ),
    "credentials_fetching": Example(
        Snapshot(seeding=Seeding()),
        "Fetching a token with client credentials",
        "The provider is looked up; no login is needed",
    ),
    "grant_damaged": Example(
        Snapshot(damage="the row was changed"),
        "Stored login damaged - login required",
        "Re-authentication required: the row was changed; the damaged record is kept as it is",
        "login",
    ),
    "grant_ended": Example(
        of(refusals=refused(2)),
        "Refresh token expired - login required",
        "Re-authentication required: invalid_grant",
        "login",
    ),
    "grant_lost_in_transit": Example(
        of(refusals=refused(2), unanswered=1),
        "Refresh answer lost in transit - login required",
        "Re-authentication required: invalid_grant; the provider's answer to an earlier refresh "
        "never arrived",
        "login",
    ),
    "client_ended": Example(
        of(refusals=replace(refused(4, "invalid_client"), repaired=3)),
        "Client registration refused by provider - login required",
        "Re-authentication required: invalid_client",
        "login",
    ),
    "no_refresh_token": Example(
        of(tokens=replace(DEAD, refresh_token=None)),
        "Access token expired - login required",
        "Re-authentication required: the provider issued no refresh token",
        "login",
    ),
    "credentials_refused": Example(
        Snapshot(connection=CONNECTED, grant=CREDENTIALS),
        "Client credentials refused by provider: bad_secret; asked again in 1m 30s",
        "bad_secret; the configured client id, secret or key is not (or no longer) accepted. A new "
        "one is tried at once, this one again at 2026-01-12T14:01:30Z",
        "set_secret",
    ),
    "logged_out": Example(
        Snapshot(connection=NEEDS_LOGIN, logged_out_at=NOW - 2 * DAY),
        "Logged out by you at 2026-01-10 14:00 - login required",
        "You logged out at 2026-01-10T14:00:00Z; the login was forgotten then",
        "login",
    ),
    "login_required": Example(
        Snapshot(connection=NEEDS_LOGIN),
        "Not logged in - login required",
        "This server asks for a login",
        "login",
    ),
    "daemon_absent": Example(
        down(Trouble.NO_DAEMON),
        "Daemon not running",
        "Nothing is connected and no token is refreshed until `mcpproxy serve` runs",
    ),
    "client_renewing": Example(
        of(refusals=refused(1, "invalid_client"), tokens=DEAD),
        "Registering anew with the provider: invalid_client; next try in 10s",
        "The provider refused mcpproxy as its client (invalid_client), not your login; it is "
        f"registered anew, and the refresh tried again at {AT_10}",
    ),
    "refresh_refused": Example(
        of(refusals=refused(1), tokens=DUE),
        "Refresh refused by provider: invalid_grant; confirming in 10s",
        f"invalid_grant; confirming at {AT_10}",
        "login",
    ),
    "refresh_outcome_unknown": Example(
        of(failures=failing(FailureKind.UNKNOWN, "timeout")),
        "Refresh retry 2 in 20s: timeout (outcome unknown, re-sending)",
        f"Refresh retry 2 scheduled for {AT_20}: timeout",
        "view_logs",
    ),
    "refresh_sign_in_page": Example(
        of(failures=failing(FailureKind.TRANSIENT, "HTTP 302", status=302, suspect=Suspect.PORTAL)),
        "The network asks for a sign-in page first; refresh retry 2 in 20s",
        "Somebody else answered in the provider's place (HTTP 302), as a network does that wants "
        "a sign-in first, or a program that inspects traffic. Open any web page in a browser. "
        f"Nothing is lost; retry 2 at {AT_20}, or as soon as the provider answers",
        "retry",
    ),
    "refresh_network_error": Example(
        of(failures=failing(FailureKind.NOT_SENT, "connection refused"), tokens=DEAD),
        "Refresh retry 2 in 20s: connection refused",
        "Network error: connection refused. Retry in 20s",
        "retry",
    ),
    "refresh_endpoint_gone": Example(
        of(failures=failing(FailureKind.TRANSIENT, "HTTP 404", status=404)),
        "Refresh retry 2 in 20s: HTTP 404; asking the provider for its new address",
        f"Refresh retry 2 scheduled for {AT_20}: HTTP 404. The provider's token endpoint is not "
        "where it was; the provider is asked where it is now",
        "view_logs",
    ),
    "refresh_rate_limited": Example(
        of(failures=failing(FailureKind.TRANSIENT, "HTTP 429", status=429, wait=40 * SECOND)),
        "Refresh retry 2 in 40s: provider asks to wait until 14:00",
        f"Refresh retry 2 scheduled for {AT_40}: the provider asks to wait until 14:00 (HTTP 429)",
        "view_logs",
    ),
    "refresh_retrying": Example(
        of(failures=failing(FailureKind.TRANSIENT, "HTTP 503", status=503)),
        "Refresh retry 2 in 20s: HTTP 503",
        f"Refresh retry 2 scheduled for {AT_20}: HTTP 503",
        "view_logs",
    ),
    "rejected_though_fresh": Example(
        rejected(3),
        "Server rejects tokens its provider just issued; next try in 20s",
        "The server refused 3 access tokens in a row that its provider had just issued; next "
        f"refresh at {AT_20}",
        "view_logs",
    ),
    "token_rejected": Example(
        rejected(1),
        "Server refused the access token; trying it again in 10s",
        f"The server refused an access token that should be good; it is offered again at {AT_10}",
        "view_logs",
    ),
    "refresh_held": Example(
        replace(of(tokens=DEAD), held_until=NOW + 40 * SECOND),
        "Refresh in 40s: provider asked to wait",
        "The provider asked to wait, after a refresh of another login; this one follows at "
        "2026-01-12T14:00:40Z",
        "view_logs",
    ),
    "refreshing": Example(
        of(tokens=DEAD),
        "Refreshing the token now",
        "The access token is no use any more; a refresh is under way",
    ),
    "store_unwritable": Example(
        replace(of(), store_trouble=StoreTrouble.FULL),
        "Store does not take writes: the disk is full",
        "the disk is full; logins in memory go on being served, refreshes wait until it does",
        "view_logs",
    ),
    "misconfigured": Example(down(Trouble.CONFIGURATION), "because", "because", "configure"),
    "not_mcp": Example(
        down(Trouble.NOT_MCP),
        "Not an MCP server: because",
        "because; next try at 2026-01-12T14:00:30Z",
        "configure",
    ),
    "scope_needed": Example(
        down(Trouble.SCOPE_NEEDED),
        "Server asks for more access - login required",
        "Access refused by server: because. A new login asks for it too",
        "login",
    ),
    "rejected": Example(
        down(Trouble.REJECTED),
        "Access refused by server: because",
        "because; next try at 2026-01-12T14:00:30Z",
        "configure",
    ),
    "command_failed": Example(
        down(Trouble.COMMAND),
        "Process ended: because; retry in 30s",
        "because; next try at 2026-01-12T14:00:30Z",
        "view_logs",
    ),
    "not_answering": Example(
        down(Trouble.SILENT),
        "Not answering: because; it may be busy",
        "because; it is asked again until it answers, and begun anew once nobody waits for it",
        "restart",
    ),
    "unreachable": Example(
        down(Trouble.NETWORK),
        "Cannot connect: because; retry in 30s",
        "because; next try at 2026-01-12T14:00:30Z",
        "retry",
    ),
    "grant_ends": Example(
        of(learned=Learned(ends_at=NOW + 2 * DAY)),
        "Login ends at 2026-01-14 14:00; log in again before",
        "It works until 2026-01-14T14:00:00Z, because the provider's access tokens get shorter "
        "towards it. Log in again before then",
    ),
    "connecting": Example(
        Snapshot(connection=Connection(ConnectionState.CONNECTING)), "Connecting"
    ),
    "tools_held": Example(
        Snapshot(connection=replace(CONNECTED, held=2)),
        "2 tools wait for approval",
        "They are new, or their definitions changed since they were approved, and are neither "
        "listed nor called until a person has looked: mcpproxy tools approve. Everything else "
        "works",
        "approve",
    ),
    "items_hidden": Example(
        Snapshot(connection=replace(CONNECTED, hidden=2, hidden_example="tool x: no inputSchema")),
        "Connected (5 tools), 2 hidden: tool x: no inputSchema",
        "Not shown to clients, because they could not read it: tool x: no inputSchema. All else of "
        "this server works; its log names everything that is hidden",
        "view_logs",
    ),
    "refresh_scheduled": Example(
        of(),
        "Token refresh scheduled for 14:48",
        "Token refresh scheduled for 2026-01-12T14:48:00Z",
    ),
    "refresh_on_demand": Example(
        of(tokens=a_token_set(life=None)),
        "Refreshed on demand",
        "The provider gives no expiry; the token is refreshed when the server refuses it",
    ),
    "no_refresh_scheduled": Example(
        of(tokens=WITHOUT_REFRESH),
        "Token valid until 15:00, cannot be refreshed",
        "The provider issued no refresh token; a login is needed after 2026-01-12T15:00:00Z",
    ),
    "connected": Example(Snapshot(connection=CONNECTED), "Connected (5 tools)"),
}
