"""The one table of health causes. CLI, REST, events, dashboard and MCP errors all show these.

Law: a cause is one literal. Its texts are templates over `health.Facts`; `{in}` is a countdown,
`{at}` an RFC 3339 time, `{clock}` and `{until}` are local times of day. Order is precedence: the
first cause that applies hides those below it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Action(StrEnum):
    NONE = ""
    LOGIN = "login"
    RESTART = "restart"
    ENABLE = "enable"
    APPROVE = "approve"
    VIEW_LOGS = "view_logs"
    RETRY = "retry"
    SET_SECRET = "set_secret"  # noqa: S105 - an action's name
    CONFIGURE = "configure"


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for a server to be as it is, in all the words that are ever shown of it."""

    name: str
    level: Level
    line: str
    summary: str
    detail: str = ""
    action: Action = Action.NONE


CAUSES: Final = (
    Cause("disabled", Level.HEALTHY, "Disabled", "Disabled", "", Action.ENABLE),
    Cause(
        "quarantined",
        Level.HEALTHY,
        "Quarantined - approval required",
        "Quarantined for review",
        "Nothing of this server is offered until it is approved",
        Action.APPROVE,
    ),
    Cause(
        "key_locked",
        Level.DEGRADED,
        "Stored logins are locked",
        "Stored logins are locked",
        "The key that opens the stored logins cannot be read now; nothing is lost",
        Action.CONFIGURE,
    ),
    Cause(
        "store_unreadable",
        Level.DEGRADED,
        "Logins cannot be read or kept now: {error}",
        "Logins cannot be read or kept now",
        "{error}; what is stored is not lost, and whether a login is needed shows once the store "
        "works again",
        Action.VIEW_LOGS,
    ),
    Cause(
        "login_pending",
        Level.DEGRADED,
        "Login in progress - waiting for the browser",
        "Login in progress",
        "Waiting for the browser until {at}",
        Action.LOGIN,
    ),
    Cause(
        "credentials_retrying",
        Level.DEGRADED,
        "Fetching a token with client credentials: {error}; retry in {in}",
        "Fetching a token with client credentials",
        "{error}; next try at {at}. No login is needed",
        Action.VIEW_LOGS,
    ),
    Cause(
        "credentials_fetching",
        Level.DEGRADED,
        "Fetching a token with client credentials",
        "Fetching a token with client credentials",
        "The provider is looked up; no login is needed",
    ),
    Cause(
        "grant_damaged",
        Level.UNHEALTHY,
        "Stored login damaged - login required",
        "Stored login damaged",
        "Re-authentication required: {error}; the damaged record is kept as it is",
        Action.LOGIN,
    ),
    Cause(
        "grant_ended",
        Level.UNHEALTHY,
        "Refresh token expired - login required",
        "Refresh token expired",
        "Re-authentication required: {error}",
        Action.LOGIN,
    ),
    Cause(
        "grant_lost_in_transit",
        Level.UNHEALTHY,
        "Refresh answer lost in transit - login required",
        "Refresh answer lost in transit",
        "Re-authentication required: {error}; the provider's answer to an earlier refresh never "
        "arrived",
        Action.LOGIN,
    ),
    Cause(
        "client_ended",
        Level.UNHEALTHY,
        "Client registration refused by provider - login required",
        "Client registration refused by provider",
        "Re-authentication required: {error}",
        Action.LOGIN,
    ),
    Cause(
        "no_refresh_token",
        Level.UNHEALTHY,
        "Access token expired - login required",
        "Access token expired",
        "Re-authentication required: {error}",
        Action.LOGIN,
    ),
    Cause(
        "credentials_refused",
        Level.UNHEALTHY,
        "Client credentials refused by provider: {error}; asked again in {in}",
        "Client credentials refused by provider",
        "{error}; the configured client id, secret or key is not (or no longer) accepted. A new "
        "one is tried at once, this one again at {at}",
        Action.SET_SECRET,
    ),
    Cause(
        "logged_out",
        Level.UNHEALTHY,
        "Logged out by you at {clock} - login required",
        "Logged out by you",
        "You logged out at {at}; the login was forgotten then",
        Action.LOGIN,
    ),
    Cause(
        "login_required",
        Level.UNHEALTHY,
        "Not logged in - login required",
        "Not logged in",
        "This server asks for a login",
        Action.LOGIN,
    ),
    Cause(
        "daemon_absent",
        Level.DEGRADED,
        "Daemon not running",
        "Daemon not running",
        "Nothing is connected and no token is refreshed until `mcpproxy serve` runs",
    ),
    Cause(
        "client_renewing",
        Level.DEGRADED,
        "Registering anew with the provider: {error}; next try in {in}",
        "Registering anew with the provider",
        "The provider refused mcpproxy as its client ({error}), not your login; it is registered "
        "anew, and the refresh tried again at {at}",
    ),
    Cause(
        "refresh_refused",
        Level.DEGRADED,
        "Refresh refused by provider: {error}; confirming in {in}",
        "Refresh refused by provider",
        "{error}; confirming at {at}",
        # A person may log in at once if they like; whether they must, the confirmation says.
        Action.LOGIN,
    ),
    Cause(
        "refresh_outcome_unknown",
        Level.DEGRADED,
        "Refresh retry {n} in {in}: {error} (outcome unknown, re-sending)",
        "Refresh outcome unknown",
        "Refresh retry {n} scheduled for {at}: {error}",
        Action.VIEW_LOGS,
    ),
    Cause(
        "refresh_sign_in_page",
        Level.DEGRADED,
        "The network asks for a sign-in page first; refresh retry {n} in {in}",
        "The network asks for a sign-in page first",
        "Somebody else answered in the provider's place ({error}), as a network does that wants a "
        "sign-in first, or a program that inspects traffic. Open any web page in a browser. "
        "Nothing is lost; retry {n} at {at}, or as soon as the provider answers",
        Action.RETRY,
    ),
    Cause(
        "refresh_network_error",
        Level.DEGRADED,
        "Refresh retry {n} in {in}: {error}",
        "Refresh failed - network error",
        "Network error: {error}. Retry in {in}",
        Action.RETRY,
    ),
    Cause(
        "refresh_endpoint_gone",
        Level.DEGRADED,
        "Refresh retry {n} in {in}: {error}; asking the provider for its new address",
        "Token refresh pending",
        "Refresh retry {n} scheduled for {at}: {error}. The provider's token endpoint is not where "
        "it was; the provider is asked where it is now",
        Action.VIEW_LOGS,
    ),
    Cause(
        "refresh_rate_limited",
        Level.DEGRADED,
        "Refresh retry {n} in {in}: provider asks to wait until {until}",
        "Token refresh pending",
        "Refresh retry {n} scheduled for {at}: the provider asks to wait until {until} ({error})",
        Action.VIEW_LOGS,
    ),
    Cause(
        "refresh_retrying",
        Level.DEGRADED,
        "Refresh retry {n} in {in}: {error}",
        "Token refresh pending",
        "Refresh retry {n} scheduled for {at}: {error}",
        Action.VIEW_LOGS,
    ),
    Cause(
        "rejected_though_fresh",
        Level.UNHEALTHY,
        "Server rejects tokens its provider just issued; next try in {in}",
        "Rejected by the server though fresh",
        "The server refused {n} access tokens in a row that its provider had just issued; next "
        "refresh at {at}",
        Action.VIEW_LOGS,
    ),
    Cause(
        "token_rejected",
        Level.DEGRADED,
        "Server refused the access token; trying it again in {in}",
        "Access token refused by server",
        "The server refused an access token that should be good; it is offered again at {at}",
        Action.VIEW_LOGS,
    ),
    Cause(
        "refresh_held",
        Level.DEGRADED,
        "Refresh in {in}: provider asked to wait",
        "Token refresh pending",
        "The provider asked to wait, after a refresh of another login; this one follows at {at}",
        Action.VIEW_LOGS,
    ),
    Cause(
        "refreshing",
        Level.DEGRADED,
        "Refreshing the token now",
        "Token refresh pending",
        "The access token is no use any more; a refresh is under way",
    ),
    Cause(
        "store_unwritable",
        Level.DEGRADED,
        "Store does not take writes: {error}",
        "Store does not take writes",
        "{error}; logins in memory go on being served, refreshes wait until it does",
        Action.VIEW_LOGS,
    ),
    Cause(
        "misconfigured",
        Level.UNHEALTHY,
        "{error}",
        "Misconfigured",
        "{error}",
        Action.CONFIGURE,
    ),
    Cause(
        "not_mcp",
        Level.UNHEALTHY,
        "Not an MCP server: {error}",
        "Not an MCP server",
        "{error}; next try at {at}",
        Action.CONFIGURE,
    ),
    Cause(
        "scope_needed",
        Level.UNHEALTHY,
        "Server asks for more access - login required",
        "More access needed",
        "Access refused by server: {error}. A new login asks for it too",
        Action.LOGIN,
    ),
    Cause(
        "rejected",
        Level.UNHEALTHY,
        "Access refused by server: {error}",
        "Access refused by server",
        "{error}; next try at {at}",
        Action.CONFIGURE,
    ),
    Cause(
        "command_failed",
        Level.UNHEALTHY,
        "Process ended: {error}; retry in {in}",
        "Process ended",
        "{error}; next try at {at}",
        Action.VIEW_LOGS,
    ),
    Cause(
        "not_answering",
        Level.UNHEALTHY,
        "Not answering: {error}; it may be busy",
        "Not answering",
        "{error}; it is asked again until it answers, and begun anew once nobody waits for it",
        Action.RESTART,
    ),
    Cause(
        "unreachable",
        Level.UNHEALTHY,
        "Cannot connect: {error}; retry in {in}",
        "Cannot connect",
        "{error}; next try at {at}",
        Action.RETRY,
    ),
    Cause(
        "grant_ends",
        Level.DEGRADED,
        "Login ends at {clock}; log in again before",
        "Login ends soon",
        "It works until {at}, because {error}. Log in again before then",
    ),
    Cause("connecting", Level.DEGRADED, "Connecting", "Connecting", "", Action.NONE),
    Cause(
        "tools_held",
        Level.DEGRADED,
        "{held} for approval",
        "Connected ({tools}), {held} for approval",
        "They are new, or their definitions changed since they were approved, and are neither "
        "listed nor called until a person has looked: mcpproxy tools approve. Everything else "
        "works",
        Action.APPROVE,
    ),
    Cause(
        "items_hidden",
        Level.DEGRADED,
        "Connected ({tools}), {n} hidden: {error}",
        "Connected ({tools}), {n} hidden",
        "Not shown to clients, because they could not read it: {error}. All else of this server "
        "works; its log names everything that is hidden",
        Action.VIEW_LOGS,
    ),
    Cause(
        "refresh_scheduled",
        Level.HEALTHY,
        "Token refresh scheduled for {clock}",
        "Connected ({tools})",
        "Token refresh scheduled for {at}",
    ),
    Cause(
        "refresh_on_demand",
        Level.HEALTHY,
        "Refreshed on demand",
        "Connected ({tools})",
        "The provider gives no expiry; the token is refreshed when the server refuses it",
    ),
    Cause(
        "no_refresh_scheduled",
        Level.HEALTHY,
        "Token valid until {clock}, cannot be refreshed",
        "Connected ({tools})",
        "The provider issued no refresh token; a login is needed after {at}",
    ),
    Cause("connected", Level.HEALTHY, "Connected ({tools})", "Connected ({tools})"),
)

CAUSE_BY_NAME: Final = {cause.name: cause for cause in CAUSES}
RANK: Final = {cause.name: rank for rank, cause in enumerate(CAUSES)}
