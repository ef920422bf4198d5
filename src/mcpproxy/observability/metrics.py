"""What Prometheus sees: a registry of our own, fed by notices and by the facts at scrape time.

Law: every metric that is registered is fed, every attempt counts wherever it began, and no label
takes more values than its bound.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mcpproxy.core.causes import Level
from mcpproxy.core.ledger import Outcome
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure, Verdict
from mcpproxy.core.notices import (
    LedgerWritten,
    Notice,
    RefreshFailedNotice,
    RefreshSucceeded,
    ToolCalled,
    ToolsRetrieved,
)
from mcpproxy.core.ports import CallLoad, Clock
from mcpproxy.core.prediction import predicted_end
from mcpproxy.observability.exposition import render
from mcpproxy.observability.isolation import Faults
from mcpproxy.observability.monitor import Standing

MAX_SERVERS: Final = 1000
"""Servers with series of their own; those after them share one that is called `other`."""

SUCCESS: Final = "success"
FAILED_NETWORK: Final = "failed_network"
FAILED_INVALID_GRANT: Final = "failed_invalid_grant"
FAILED_OTHER: Final = "failed_other"

STATUSES: Final = ("connected", "connecting", "disconnected", "error", "disabled", "quarantined")
LOGIN_REASONS: Final = frozenset(verdict.value for verdict in Verdict)
OUTCOMES: Final = frozenset({"ok", "error", "unavailable", "overloaded", "denied"})
CLIENT_CODES: Final = frozenset({"invalid_client", "unauthorized_client"})

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_REFRESH_BUCKETS: Final = (0.1, 0.5, 1, 2, 5, 10, 30)
_CALL_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Hears notices, and reads the facts when it is asked for its text.

    `healths` and `grants` are what Monitor and custody hold; `depths` are queues by name, `loads`
    the calls under way.
    """

    def __init__(
        self,
        clock: Clock,
        healths: Callable[[], Mapping[str, Standing]],
        grants: Callable[[str], Grant | None],
        depths: Mapping[str, Callable[[], int]],
        loads: Callable[[], Iterable[CallLoad]] = tuple,
    ) -> None:
        self._servers: set[str] = set()
        self._call_series: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        labels = ("server", "result")
        self._refreshes = Counter(
            "mcpproxy_oauth_refresh",
            "OAuth token refresh attempts by their result",
            labels,
            registry=self._registry,
        )
        self._refresh_seconds = Histogram(
            "mcpproxy_oauth_refresh_duration_seconds",
            "Duration of OAuth token refresh attempts",
            labels,
            buckets=_REFRESH_BUCKETS,
            registry=self._registry,
        )
        self._logins = Counter(
            "mcpproxy_oauth_logins",
            "Logins that ended without the user ending them; each end counts once",
            ("server", "reason"),
            registry=self._registry,
        )
        self._calls = Counter(
            "mcpproxy_tool_calls",
            "Tool calls by their outcome",
            ("server", "outcome"),
            registry=self._registry,
        )
        self._call_seconds = Histogram(
            "mcpproxy_tool_call_duration_seconds",
            "Duration of tool calls",
            ("server", "outcome"),
            buckets=_CALL_BUCKETS,
            registry=self._registry,
        )
        self._retrieved = Counter(
            "mcpproxy_retrieve_tools_tokens",
            "Tokens of answers of retrieve_tools, estimated as bytes / 4, and of the lists of all "
            "tools that they stood for",
            ("kind",),
            registry=self._registry,
        )
        self._registry.register(_Facts(clock, healths, grants, depths, self._label, self._begin))
        self._registry.register(_Loads(loads, self._label))

    def hear(self, notice: Notice) -> None:
        """Count what happened."""
        match notice:
            case RefreshSucceeded(server=server, duration=duration):
                labels = (self._label(server), SUCCESS)
                self._refreshes.labels(*labels).inc()
                self._refresh_seconds.labels(*labels).observe(duration.total_seconds())
            case RefreshFailedNotice(server=server, duration=duration, failure=failure):
                labels = (self._label(server), refresh_result(failure))
                self._refreshes.labels(*labels).inc()
                self._refresh_seconds.labels(*labels).observe(duration.total_seconds())
            case LedgerWritten(server=server, line=line) if line.outcome is Outcome.ENDED:
                reason = line.code if line.code in LOGIN_REASONS else "other"
                self._logins.labels(self._label(server), reason).inc()
            case ToolCalled(server=server, outcome=outcome, duration=duration):
                count, seconds = self._of_calls(server, outcome)
                count.inc()
                seconds.observe(duration.total_seconds())
            case ToolsRetrieved(tokens=tokens, all_tokens=all_tokens):
                self._retrieved.labels("answer").inc(tokens)
                self._retrieved.labels("all_tools").inc(all_tokens)
            case _:
                pass

    def _of_calls(self, server: str, outcome: str) -> tuple[Counter, Histogram]:
        """The two series of such calls. They are kept: looking them up costs more than counting."""
        found = self._call_series.get((server, outcome))
        if found is None:
            label = self._label(server)
            labels = (label, outcome if outcome in OUTCOMES else "error")
            found = (self._calls.labels(*labels), self._call_seconds.labels(*labels))
            if label == server and labels[1] == outcome:  # as many as there are series, no more
                self._call_series[server, outcome] = found
        return found

    def text(self) -> str:
        """The Prometheus text format, version 0.0.4."""
        return render(self._registry.collect())

    def _begin(self, label: str) -> None:
        """Let the counts of this server's lost logins stand at 0: of a series that appears with
        its first count, `increase()` never sees that one.
        """
        for reason in LOGIN_REASONS:
            self._logins.labels(label, reason)

    def _label(self, server: str) -> str:
        if server in self._servers:
            return server
        if len(self._servers) >= MAX_SERVERS or not _NAME.fullmatch(server):
            return "other"
        self._servers.add(server)
        return server


def refresh_result(failure: RefreshFailure) -> str:
    """The `result` label of a failed refresh.

    The network's fault when nothing of an answer came; the grant's when the provider refused it.
    """
    match failure.kind:
        case FailureKind.REFUSED:
            return FAILED_OTHER if failure.code in CLIENT_CODES else FAILED_INVALID_GRANT
        case FailureKind.NOT_SENT:
            return FAILED_NETWORK
        case FailureKind.TRANSIENT | FailureKind.UNKNOWN:
            return FAILED_NETWORK if failure.status is None else FAILED_OTHER


class _Facts(Collector):
    """Gauges that are true at the moment of the scrape."""

    def __init__(
        self,
        clock: Clock,
        healths: Callable[[], Mapping[str, Standing]],
        grants: Callable[[str], Grant | None],
        depths: Mapping[str, Callable[[], int]],
        label: Callable[[str], str],
        begin: Callable[[str], None],
    ) -> None:
        """`begin` is told of every server that has a login."""
        self._begin = begin
        self._clock = clock
        self._started = clock.elapsed()
        self._healths = healths
        self._grants = grants
        self._depths = depths
        self._label = label
        self._faults = Faults("measuring")

    def collect(self) -> Iterator[Metric]:
        healths = self._healths()
        uptime = self._clock.elapsed() - self._started
        yield GaugeMetricFamily(
            "mcpproxy_uptime_seconds", "Seconds since the start", round(uptime.total_seconds(), 3)
        )
        yield _counted(
            "mcpproxy_servers",
            "Servers by their state",
            "state",
            STATUSES,
            (health.status for health in healths.values()),
        )
        yield _counted(
            "mcpproxy_servers_health",
            "Servers by their health",
            "level",
            tuple(level.value for level in Level),
            (health.level.value for health in healths.values()),
        )
        yield from self._of_logins(healths)
        depth = GaugeMetricFamily(
            "mcpproxy_queue_depth", "Entries that wait in a queue", labels=["queue"]
        )
        for name, measure in self._depths.items():
            try:
                depth.add_metric([name], measure())
            except Exception as error:
                self._faults.tell(name, error)
        yield depth

    def _of_logins(self, servers: Iterable[str]) -> Iterator[Metric]:
        """What there is to say of each login, by its server."""
        expiry = GaugeMetricFamily(
            "mcpproxy_oauth_token_expiry_seconds",
            "Seconds until the access token expires; negative when it has",
            labels=["server"],
        )
        end = GaugeMetricFamily(
            "mcpproxy_oauth_login_end_seconds",
            "Seconds until the login ends, where that is known beforehand",
            labels=["server"],
        )
        failures = GaugeMetricFamily(
            "mcpproxy_oauth_refresh_failures",
            "Refreshes in a row that brought no token; 0 when the last one did",
            labels=["server"],
        )
        now = self._clock.now()
        for server in servers:
            label = self._label(server)
            try:
                grant = self._grants(server) if label != "other" else None
                if grant is None:
                    continue
                self._begin(label)
                expires_at, ends = grant.tokens.expires_at, predicted_end(grant)
                if expires_at is not None:
                    expiry.add_metric([label], _left(expires_at, now))
                if ends is not None:
                    end.add_metric([label], _left(ends.at, now))
                failures.add_metric([label], _failures(grant))
            except Exception as error:
                self._faults.tell(server, error)
        yield from (expiry, end, failures)


class _Loads(Collector):
    """Calls under way and calls that wait for their turn, when Prometheus asks."""

    def __init__(
        self, loads: Callable[[], Iterable[CallLoad]], label: Callable[[str], str]
    ) -> None:
        self._loads = loads
        self._label = label

    def collect(self) -> Iterator[Metric]:
        active: dict[str, int] = {}
        waiting: dict[str, int] = {}
        for load in self._loads():
            if not load.server:
                continue  # what is common to all is a queue of its own
            name = self._label(load.server)
            active[name] = active.get(name, 0) + load.active
            waiting[name] = waiting.get(name, 0) + load.waiting
        for name, text, counts in (
            ("mcpproxy_calls_active", "Tool calls under way", active),
            ("mcpproxy_calls_waiting", "Tool calls that wait for their turn", waiting),
        ):
            family = GaugeMetricFamily(name, text, labels=["server"])
            for server, count in counts.items():
                family.add_metric([server], count)
            yield family


def _left(at: datetime, now: datetime) -> float:
    return round((at - now).total_seconds(), 3)


def _failures(grant: Grant) -> int:
    run, refusals = grant.failures, grant.refusals
    return (run.count if run else 0) + (refusals.count if refusals else 0)


def _counted(
    name: str, text: str, label: str, known: Iterable[str], found: Iterable[str]
) -> Metric:
    counts = dict.fromkeys(known, 0)
    for value in found:
        if value in counts:
            counts[value] += 1
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
