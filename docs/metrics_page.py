"""The page of the metrics, made from a registry in which everything was fed once.

Law: names, types, labels and meanings are read from what Prometheus would read.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.clock import SystemClock
from mcpproxy.core.health import Snapshot, assess
from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import (
    ClientRegistration,
    Grant,
    Learned,
    RegistrationSource,
    Secret,
    TokenSet,
    Verdict,
)
from mcpproxy.core.notices import (
    LedgerWritten,
    Notice,
    RefreshSucceeded,
    ToolCalled,
    ToolsRetrieved,
)
from mcpproxy.core.ports import CallLoad
from mcpproxy.observability.metrics import Metrics

_VERDICTS: Final = {
    Verdict.PROVIDER_ENDED: "the provider: it refused the refresh token, and confirmed that",
    Verdict.LOST_IN_TRANSIT: "nobody: the provider rotated, and its answer was lost on the way",
    Verdict.CLIENT_ENDED: "the provider: it does not know our client any more",
    Verdict.NO_REFRESH_TOKEN: "time: the provider issued no refresh token",
    Verdict.CREDENTIALS_REFUSED: "the provider: it refuses the configured client credentials",
}


def metrics() -> str:
    rows = [
        f"| `{name}` | {kind} | {labels} | {text} |"
        for name, (kind, labels, text) in _families(_sample_metrics().text()).items()
    ]
    return "\n".join(
        (
            "# Metrics",
            "",
            "`GET /metrics` answers in the Prometheus text format. It needs no key from loopback.",
            "",
            "| metric | type | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
            "`result` of a refresh is one of:",
            "",
            "| result | when |",
            "|---|---|",
            "| `success` | a token was issued and stored |",
            "| `failed_network` | nothing was sent, or no answer came |",
            "| `failed_invalid_grant` | the provider refused the login |",
            "| `failed_other` | the provider answered, but neither with tokens nor with a refusal "
            "of the login; also a refused client registration |",
            "",
            "Every attempt counts, wherever it began. At most 1000 servers have series of their",
            "own; the rest share `other`.",
            "",
            "`mcpproxy_oauth_logins_total` counts logins that ended though nobody here ended",
            "them: the number to alert on. `reason` is the verdict:",
            "",
            "| reason | who ended it |",
            "|---|---|",
            *(f"| `{verdict.value}` | {_VERDICTS[verdict]} |" for verdict in Verdict),
            "",
            "Each end counts once: that it was told is stored with the login, so that a restart, a",
            "second process or a further refusal counts nothing again. An end that came while no",
            "daemon ran counts when the next one starts; one of a login that revived counts anew.",
            "Every reason stands at 0 from the first scrape on, and counters begin anew with the",
            "process: `increase()` copes with both. Over 30 days it is the number of times that",
            "somebody was asked to log in without having logged out.",
            "",
            "```promql",
            "sum by (server, reason) (increase(mcpproxy_oauth_logins_total[30d]))",
            "mcpproxy_oauth_login_end_seconds < 3 * 86400",
            "```",
            "",
            "```sh",
            "curl -s http://localhost:8080/metrics | grep mcpproxy_oauth_refresh_total",
            "```",
        )
    )


def _sample_metrics() -> Metrics:
    """A registry in which everything that has labels was fed once."""
    clock, took = SystemClock(), timedelta(seconds=1)
    grant, health = _sample_grant(clock.now()), assess(Snapshot(), clock.now())
    ended = LedgerLine(
        "github", "login", clock.now(), Outcome.ENDED, 1, code=Verdict.PROVIDER_ENDED.value
    )
    loads = (CallLoad("github", 0, 0),)
    queues = {"events": lambda: 0}
    made = Metrics(clock, lambda: {"github": health}, lambda _: grant, queues, lambda: loads)
    fed: tuple[Notice, ...] = (
        RefreshSucceeded("github", "attempt", 2, took, None),
        LedgerWritten("github", ended),
        ToolCalled("github", "search", "ok", took),
        ToolsRetrieved(1, 60, 9000),
    )
    for notice in fed:
        made.hear(notice)
    return made


def _sample_grant(now: datetime) -> Grant:
    """A login of which everything is known."""
    issuer = "https://provider.example"
    return Grant(
        server="github",
        server_url=f"{issuer}/mcp",
        issuer=issuer,
        token_endpoint=f"{issuer}/token",
        client=ClientRegistration(issuer, "client", RegistrationSource.CONFIGURED, issuer),
        tokens=TokenSet(Secret("access"), Secret("refresh"), now, now + timedelta(hours=1)),
        logged_in_at=now,
        login_id="login",
        learned=Learned(ends_at=now + timedelta(days=30)),
    )


def _families(text: str) -> Mapping[str, tuple[str, str, str]]:
    """Type, labels and help text of each metric, from the text that Prometheus reads."""
    kinds: dict[str, str] = {}
    helps: dict[str, str] = {}
    labels: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split(" ", 3)
        if line.startswith("# HELP "):
            helps[words[2]] = words[3]
        elif line.startswith("# TYPE "):
            kinds[words[2]] = words[3]
        elif "{" in line:
            name, _, rest = line.partition("{")
            found = [pair.partition("=")[0] for pair in rest.rpartition("}")[0].split(",")]
            family = name if name in kinds else name.rpartition("_")[0]
            shown = [f"`{label}`" for label in found if label not in ("", "le")]
            labels.setdefault(family, ", ".join(shown))
    return {name: (kinds[name], labels.get(name, ""), helps[name]) for name in kinds}
