"""The page of what is known of providers, made from their profiles.

Law: nothing stands here that the program does not go by.
"""

from datetime import timedelta

from mcpproxy.core.providers import PROFILES, ProviderProfile
from mcpproxy.web.known import span


def providers() -> str:
    return "\n".join(
        (
            "# What is known of providers",
            "",
            "mcpproxy keeps a login with any provider that speaks OAuth 2.1, and knows some of",
            "them beforehand. That makes it more careful, or tells a person more: a login that its",
            "provider would end for idleness is refreshed in time, one that ends on a certain day",
            "says so beforehand. No profile ever ends or refuses a login, and what the provider",
            "itself answers always counts for more.",
            "",
            "| provider | issuer's host | new refresh token each time | the old one is taken again "
            "for | idle limit | ends after | note |",
            "|---|---|---|---|---|---|---|",
            *(_row(profile) for profile in PROFILES),
            "",
            "An empty cell: not known, or the tenant's choice. A host stands for its subdomains",
            "too. The figures are those of the providers' own documents and of reports from the",
            "field; they change without notice.",
            "",
            "## What is learned",
            "",
            "Of every provider, known or not, its answers are remembered with the login: whether a",
            "refresh brings a new refresh token, how long an access token usually lives, and",
            "whether those lives shrink towards a moment, as they do where a login has a hard end.",
            "`mcpproxy auth status NAME` and `mcpproxy explain NAME` show all of it.",
            "",
            "## What ends a login beforehand",
            "",
            "A login ends on a known day when",
            "",
            "- its access tokens get shorter towards that day,",
            "- the provider said when our client's secret ends, and gave us no way to renew it,",
            "- the provider said when the refresh token ends, and issues no new one,",
            "- its profile has a limit after which every login ends.",
            "",
            "Health says so three days before (`grant_ends` in [health",
            "causes](../reference/health-causes.md)), `auth status` from the first day on, and",
            "`mcpproxy_oauth_login_end_seconds` counts down to it. It is a prediction: when the",
            "day comes and the login works on, it goes on being used.",
        )
    )


def _row(profile: ProviderProfile) -> str:
    cells = (
        profile.name,
        ", ".join(f"`{host}`" for host in profile.hosts),
        {True: "yes", False: "no", None: ""}[profile.rotates],
        _window(profile.replay_window),
        span(profile.idle_limit) if profile.idle_limit else "",
        span(profile.absolute_limit) if profile.absolute_limit else "",
        profile.note,
    )
    return f"| {' | '.join(cells)} |"


def _window(window: timedelta | None) -> str:
    if window is None:
        return ""
    return span(window) if window else "never"
