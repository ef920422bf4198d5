"""What is known of providers before they have shown it: lives, replay windows, hard ends.

Law: data only. A profile may make mcpproxy more careful or tell a person more; what the provider
itself answers always counts for more, and no profile ever ends or refuses a login. Figures are
the vendors' documents' and field reports', collected in docs/explanation/providers.md.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

from mcpproxy.core.policy import RefreshPolicy

MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ProviderProfile:
    """`hosts` are the issuer's host names, their subdomains included. None: not known.

    `replay_window` is how long a refresh token is taken again after its first use; zero: never.
    `idle_limit` ends a login that is not refreshed for so long, `absolute_limit` any login.
    """

    name: str
    hosts: tuple[str, ...]
    rotates: bool | None = None
    replay_window: timedelta | None = None
    idle_limit: timedelta | None = None
    absolute_limit: timedelta | None = None
    note: str = ""


PROFILES: Final = (
    ProviderProfile(
        "Atlassian",
        ("auth.atlassian.com", "mcp.atlassian.com", "cf.mcp.atlassian.com"),
        rotates=True,
        replay_window=10 * MINUTE,
        idle_limit=90 * DAY,
        absolute_limit=365 * DAY,
        note="needs offline_access; calls a dead refresh token unauthorized_client",
    ),
    ProviderProfile("Linear", ("linear.app",), rotates=True, replay_window=30 * MINUTE),
    ProviderProfile(
        "Notion",
        ("mcp.notion.com", "notion.com"),
        rotates=True,
        replay_window=timedelta(0),
        note="reuse ends the login; a refresh ends the access tokens before it",
    ),
    ProviderProfile(
        "Sentry",
        ("mcp.sentry.dev",),
        rotates=True,
        absolute_limit=30 * DAY,
        note="one-deep rotation",
    ),
    ProviderProfile(
        "Cloudflare",
        ("workers.dev", "mcp.cloudflare.com"),
        rotates=True,
        absolute_limit=30 * DAY,
        note="the last refresh token works until its successor is used; clients live 90 days",
    ),
    ProviderProfile(
        "Slack",
        ("slack.com",),
        rotates=True,
        replay_window=timedelta(0),
        note="errors come inside HTTP 200",
    ),
    ProviderProfile(
        "GitHub",
        ("github.com",),
        rotates=True,
        replay_window=timedelta(0),
        idle_limit=182 * DAY,
        note="errors come inside HTTP 200; a refresh ends the access token before it",
    ),
    ProviderProfile(
        "Google",
        ("accounts.google.com", "oauth2.googleapis.com"),
        rotates=False,
        idle_limit=182 * DAY,
        note="logins of an app in testing end after 7 days",
    ),
    ProviderProfile(
        "Microsoft Entra",
        ("login.microsoftonline.com",),
        rotates=True,
        idle_limit=90 * DAY,
        note="takes earlier refresh tokens too; refuses the resource parameter",
    ),
    ProviderProfile(
        "Okta",
        ("okta.com", "oktapreview.com"),
        replay_window=timedelta(seconds=30),
        idle_limit=7 * DAY,
    ),
    ProviderProfile("Auth0", ("auth0.com",), note="overlap is the tenant's choice"),
    ProviderProfile(
        "WorkOS AuthKit",
        ("authkit.app", "workos.com"),
        rotates=True,
        replay_window=timedelta(seconds=30),
    ),
    ProviderProfile(
        "Supabase",
        ("supabase.co", "supabase.com"),
        rotates=True,
        replay_window=timedelta(seconds=10),
        note="answers 201; forgets clients that are not used",
    ),
    ProviderProfile("Amazon Cognito", ("amazoncognito.com",), replay_window=timedelta(seconds=60)),
    ProviderProfile("HubSpot", ("hubspot.com", "hubapi.com"), rotates=False),
)


@lru_cache(maxsize=256)
def profile_of(issuer: str) -> ProviderProfile | None:
    """The profile of this issuer, if there is one."""
    host = issuer.partition("://")[2].partition("/")[0].partition(":")[0].lower()
    for profile in PROFILES:
        if any(host == known or host.endswith(f".{known}") for known in profile.hosts):
            return profile
    return None


def keep_alive(issuer: str, policy: RefreshPolicy) -> timedelta:
    """The longest time to go without a refresh at this issuer: the policy's, or a third of the
    idle limit where that is shorter.
    """
    profile = profile_of(issuer)
    if profile is None or profile.idle_limit is None:
        return policy.keep_alive
    return min(policy.keep_alive, profile.idle_limit / 3)
