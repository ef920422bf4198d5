"""What a scrape shows: the quickstart's lines, bounded labels, every metric fed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import (
    FailureKind,
    FailureRun,
    Learned,
    RefreshFailure,
    Refusals,
    Verdict,
)
from mcpproxy.core.notices import (
    LedgerWritten,
    LoginLost,
    RefreshFailedNotice,
    RefreshSucceeded,
    ToolCalled,
    ToolsRetrieved,
)
from mcpproxy.core.ports import CallLoad
from mcpproxy.observability import metrics as module
from mcpproxy.observability.metrics import LOGIN_REASONS, Metrics, refresh_result
from tests.web.stubs import NOW, World, web_parts

SECOND = timedelta(seconds=1)
TIMEOUT = RefreshFailure(FailureKind.UNKNOWN, "timeout")


@pytest.fixture
def world() -> World:
    made = World()
    made.add_oauth("github-mcp")
    return made


@pytest.fixture
def metrics(world: World) -> Metrics:
    return web_parts(world).metrics


def test_calls_under_way_and_waiting_are_told_by_server(world: World) -> None:
    loads = (CallLoad("", 5, 9), CallLoad("github-mcp", 2, 1), CallLoad("not a name", 1, 0))
    made = Metrics(world.clock, dict, world.grant, {"calls": lambda: 9}, lambda: loads)
    text = made.text()
    assert 'mcpproxy_calls_active{server="github-mcp"} 2' in text
    assert 'mcpproxy_calls_waiting{server="github-mcp"} 1' in text
    assert 'mcpproxy_calls_active{server="other"} 1' in text
    assert 'mcpproxy_queue_depth{queue="calls"} 9' in text


def test_the_lines_are_those_of_the_quickstart(metrics: Metrics) -> None:
    for _ in range(42):
        metrics.hear(RefreshSucceeded("github-mcp", "a", 2, SECOND, None))
    for _ in range(3):
        metrics.hear(RefreshFailedNotice("github-mcp", "a", 2, SECOND, TIMEOUT))
    text = metrics.text()
    assert 'mcpproxy_oauth_refresh_total{server="github-mcp",result="success"} 42\n' in text
    assert 'mcpproxy_oauth_refresh_total{server="github-mcp",result="failed_network"} 3\n' in text


@pytest.mark.parametrize(
    ("kind", "code", "status", "result"),
    [
        (FailureKind.NOT_SENT, None, None, "failed_network"),
        (FailureKind.UNKNOWN, None, None, "failed_network"),
        (FailureKind.TRANSIENT, None, None, "failed_network"),
        (FailureKind.TRANSIENT, None, 503, "failed_other"),
        (FailureKind.TRANSIENT, None, 429, "failed_other"),
        (FailureKind.TRANSIENT, "temporarily_unavailable", 400, "failed_other"),
        (FailureKind.REFUSED, "invalid_grant", 400, "failed_invalid_grant"),
        (FailureKind.REFUSED, None, 401, "failed_invalid_grant"),
        (FailureKind.REFUSED, "invalid_client", 401, "failed_other"),
        (FailureKind.REFUSED, "unauthorized_client", 400, "failed_other"),
    ],
)
def test_the_result_says_whose_fault_it_was(
    kind: FailureKind, code: str | None, status: int | None, result: str
) -> None:
    assert refresh_result(RefreshFailure(kind, "x", code=code, status=status)) == result


def test_every_registered_metric_is_fed_and_parses(world: World, metrics: Metrics) -> None:
    metrics.hear(RefreshSucceeded("github-mcp", "a", 2, SECOND, None))
    metrics.hear(ended("github-mcp"))
    metrics.hear(ToolCalled("github-mcp", "echo", "ok", SECOND))
    metrics.hear(ToolsRetrieved(3, 100, 9000))
    learned = Learned(ends_at=world.clock.now() + timedelta(days=1))
    world.grant_facts["github-mcp"] = replace(world.grant_facts["github-mcp"], learned=learned)
    world.clock.advance(timedelta(minutes=10))
    families = list(text_string_to_metric_families(metrics.text()))
    assert {family.name for family in families} == {
        "mcpproxy_oauth_refresh",
        "mcpproxy_oauth_refresh_duration_seconds",
        "mcpproxy_oauth_logins",
        "mcpproxy_tool_calls",
        "mcpproxy_tool_call_duration_seconds",
        "mcpproxy_retrieve_tools_tokens",
        "mcpproxy_uptime_seconds",
        "mcpproxy_servers",
        "mcpproxy_servers_health",
        "mcpproxy_oauth_token_expiry_seconds",
        "mcpproxy_oauth_login_end_seconds",
        "mcpproxy_oauth_refresh_failures",
        "mcpproxy_queue_depth",
        "mcpproxy_calls_active",
        "mcpproxy_calls_waiting",
    }
    assert all(family.samples for family in families)
    assert all(family.documentation for family in families)
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert values["mcpproxy_uptime_seconds"] == 600
    assert values["mcpproxy_oauth_token_expiry_seconds"] == 3000
    assert values["mcpproxy_oauth_login_end_seconds"] == 86400 - 600


@pytest.mark.parametrize("verdict", Verdict)
def test_an_end_that_joins_the_ledger_counts_by_its_verdict(
    metrics: Metrics, verdict: Verdict
) -> None:
    assert lost(metrics, verdict) is None, "nobody has looked yet"
    metrics.text()
    assert lost(metrics, verdict) == 0, "so that increase() sees the first one"
    metrics.hear(ended("github-mcp", verdict.value))
    assert lost(metrics, verdict) == 1


def test_nothing_but_an_end_in_the_ledger_counts_as_a_lost_login(metrics: Metrics) -> None:
    metrics.text()
    metrics.hear(LoginLost("github-mcp", "provider_ended", "told anew by every process"))
    refused = ended("github-mcp").line
    for outcome in set(Outcome) - {Outcome.ENDED}:
        metrics.hear(LedgerWritten("github-mcp", replace(refused, outcome=outcome)))
    assert lost(metrics, Verdict.PROVIDER_ENDED) == 0


def test_failures_in_a_row_are_told_until_one_succeeds(world: World, metrics: Metrics) -> None:
    name = 'mcpproxy_oauth_refresh_failures{server="github-mcp"}'
    assert f"{name} 0\n" in metrics.text()
    whole = world.grant_facts["github-mcp"]
    failing = replace(
        whole, failures=FailureRun(3, NOW, NOW, TIMEOUT), refusals=Refusals(1, NOW, NOW, TIMEOUT)
    )
    world.grant_facts["github-mcp"] = failing
    assert f"{name} 4\n" in metrics.text()


def ended(server: str, reason: str = "provider_ended") -> LedgerWritten:
    line = LedgerLine(server, "login", NOW, Outcome.ENDED, 1, code=reason, detail="invalid_grant")
    return LedgerWritten(server, line)


def lost(metrics: Metrics, verdict: Verdict) -> float | None:
    """The count of logins of `github-mcp` that were lost with this verdict."""
    families = {f.name: f for f in text_string_to_metric_families(metrics.text())}
    for sample in families["mcpproxy_oauth_logins"].samples:
        if sample.labels.get("reason") == verdict.value and sample.name.endswith("_total"):
            return float(sample.value)
    return None


def test_gauges_follow_the_facts(world: World, metrics: Metrics) -> None:
    assert 'mcpproxy_servers{state="connected"} 1\n' in metrics.text()
    world.servers["github-mcp"] = replace(world.servers["github-mcp"], enabled=False)
    assert 'mcpproxy_servers{state="connected"} 0\n' in metrics.text()
    assert 'mcpproxy_servers{state="disabled"} 1\n' in metrics.text()


def test_a_bug_about_one_server_costs_the_others_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_oauth("alpha")
    known = World.grant

    def grant(self: World, server: str) -> object:
        if server == "alpha":
            raise ZeroDivisionError
        return known(self, server)

    monkeypatch.setattr(World, "grant", grant)
    text = web_parts(world).metrics.text()
    assert 'mcpproxy_oauth_token_expiry_seconds{server="github-mcp"} 3600' in text
    assert 'expiry_seconds{server="alpha"}' not in text


def test_the_number_of_series_is_bounded(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SERVERS", 10)
    for number in range(100):
        metrics.hear(ToolCalled(f"server-{number}", "echo", "ok", SECOND))
        metrics.hear(ended("github-mcp", f"made up {number}"))
        metrics.hear(ToolCalled("github-mcp", "echo", f"made up {number}", SECOND))
    families = {f.name: f for f in text_string_to_metric_families(metrics.text())}
    totals = [s for s in families["mcpproxy_tool_calls"].samples if s.name.endswith("_total")]
    assert len({sample.labels["server"] for sample in totals}) <= 11
    reasons = {sample.labels["reason"] for sample in families["mcpproxy_oauth_logins"].samples}
    assert reasons - LOGIN_REASONS == {"other"}


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\\b", "../x", "", "é" * 5])
def test_a_name_that_is_none_cannot_break_the_format(metrics: Metrics, name: str) -> None:
    metrics.hear(ToolCalled(name, "echo", "ok", SECOND))
    families = {f.name: f for f in text_string_to_metric_families(metrics.text())}
    samples = families["mcpproxy_tool_calls"].samples
    assert {sample.labels["server"] for sample in samples} == {"other"}
