"""Every cause in its words, and which of them is shown."""

import string
from dataclasses import replace
from datetime import UTC, timedelta, timezone

import pytest

from mcpproxy.core.causes import CAUSES, Level
from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import StoreTrouble
from mcpproxy.core.events import TokenRejected
from mcpproxy.core.evolution import evolve
from mcpproxy.core.health import Snapshot, assess, countdown, rfc3339, time_of_day
from mcpproxy.core.model import FailureKind, FailureRun, Refusals, Suspect
from tests.builders import NOW, a_failure, a_grant, a_token_set

SECOND = timedelta(seconds=1)
CONNECTED = Connection(ConnectionState.CONNECTED, tool_count=5)
DEAD = a_token_set(issued_at=NOW - timedelta(hours=2))


def failing(kind: FailureKind, detail: str, count: int = 2) -> FailureRun:
    return FailureRun(count, NOW - 20 * SECOND, NOW, a_failure(kind, detail))


def refused(count: int, code: str = "invalid_grant") -> Refusals:
    failure = a_failure(FailureKind.REFUSED, code, code=code)
    return Refusals(count, NOW, NOW, failure)


def test_a_scheduled_refresh_is_healthy_and_says_when() -> None:
    health = assess(Snapshot(connection=CONNECTED, grant=a_grant()), NOW, zone=UTC)
    assert (health.status, health.level) == ("connected", Level.HEALTHY)
    assert health.line == "Token refresh scheduled for 14:48"
    assert health.summary == "Connected (5 tools)"
    assert health.detail == "Token refresh scheduled for 2026-01-12T14:48:00Z"
    assert health.action == ""


def test_a_refresh_of_another_day_carries_its_date_in_the_readers_zone() -> None:
    grant = a_grant(tokens=a_token_set(life=timedelta(days=1)))
    zone = timezone(timedelta(hours=5))
    health = assess(Snapshot(connection=CONNECTED, grant=grant), NOW, zone=zone)
    assert health.line == "Token refresh scheduled for 2026-01-13 14:12"


def test_refresh_health_state() -> None:
    """Given a failed refresh, the state is "degraded" with retry info."""
    run = failing(FailureKind.TRANSIENT, "connection timeout")
    snapshot = Snapshot(connection=CONNECTED, grant=a_grant(failures=run))
    health = assess(snapshot, NOW + SECOND)
    assert (health.status, health.level) == ("connected", Level.DEGRADED)
    assert health.line == "Refresh retry 2 in 19s: connection timeout"
    assert health.summary == "Token refresh pending"
    assert health.detail == "Refresh retry 2 scheduled for 2026-01-12T14:00:20Z: connection timeout"
    assert health.action == "view_logs"


def test_a_network_failure_with_a_dead_token_says_so_and_offers_a_retry() -> None:
    run = failing(FailureKind.NOT_SENT, "connection refused")
    health = assess(Snapshot(connection=CONNECTED, grant=a_grant(failures=run, tokens=DEAD)), NOW)
    assert health.summary == "Refresh failed - network error"
    assert health.detail == "Network error: connection refused. Retry in 20s"
    assert (health.level, health.action) == (Level.DEGRADED, "retry")


@pytest.mark.parametrize("kind", [FailureKind.NOT_SENT, FailureKind.TRANSIENT])
def test_a_sign_in_page_of_the_network_is_told_in_words_for_a_tired_person(
    kind: FailureKind,
) -> None:
    run = failing(kind, "HTTP 200 with a web page instead of an answer")
    run = replace(run, failure=replace(run.failure, suspect=Suspect.PORTAL))
    health = assess(Snapshot(connection=CONNECTED, grant=a_grant(failures=run, tokens=DEAD)), NOW)
    assert health.line == "The network asks for a sign-in page first; refresh retry 2 in 20s"
    assert health.summary == "The network asks for a sign-in page first"
    assert "Open any web page in a browser. Nothing is lost" in health.detail
    assert (health.level, health.action) == (Level.DEGRADED, "retry")


def test_an_unknown_outcome_is_told_as_such() -> None:
    run = failing(FailureKind.UNKNOWN, "timeout")
    health = assess(Snapshot(connection=CONNECTED, grant=a_grant(failures=run)), NOW)
    assert health.summary == "Refresh outcome unknown"
    assert health.line.startswith("Refresh retry 2 in 20s: timeout")
    assert health.level is Level.DEGRADED


def test_a_refusal_is_degraded_while_it_is_being_confirmed() -> None:
    due = a_token_set(issued_at=NOW - timedelta(minutes=48))
    grant = a_grant(refusals=refused(1), tokens=due)
    health = assess(Snapshot(connection=CONNECTED, grant=grant), NOW)
    assert health.summary == "Refresh refused by provider"
    assert health.detail == "invalid_grant; confirming at 2026-01-12T14:00:10Z"
    assert (health.level, health.action) == (Level.DEGRADED, "login")


def test_a_refusal_of_a_new_token_is_told_to_be_confirmed_when_it_is() -> None:
    """A minute after the token was issued."""
    grant = a_grant(refusals=refused(1))
    health = assess(Snapshot(connection=CONNECTED, grant=grant), NOW + 20 * SECOND)
    assert health.line == "Refresh refused by provider: invalid_grant; confirming in 40s"
    assert health.detail == "invalid_grant; confirming at 2026-01-12T14:01:00Z"


def test_an_ended_grant_is_unhealthy_and_asks_for_a_login() -> None:
    health = assess(Snapshot(connection=CONNECTED, grant=a_grant(refusals=refused(2))), NOW)
    assert (health.status, health.level) == ("error", Level.UNHEALTHY)
    assert health.line == "Refresh token expired - login required"
    assert health.summary == "Refresh token expired"
    assert health.detail == "Re-authentication required: invalid_grant"
    assert health.action == "login"


def test_without_a_known_expiry_the_token_is_refreshed_on_demand() -> None:
    grant = a_grant(tokens=a_token_set(life=None))
    health = assess(Snapshot(connection=CONNECTED, grant=grant), NOW)
    assert (health.level, health.line) == (Level.HEALTHY, "Refreshed on demand")


def test_refresh_trouble_outranks_a_connection_that_is_down() -> None:
    run = failing(FailureKind.TRANSIENT, "HTTP 503")
    down = Connection(ConnectionState.ERROR, trouble=Trouble.NETWORK, error="refused", retry_at=NOW)
    health = assess(Snapshot(connection=down, grant=a_grant(failures=run)), NOW)
    assert (health.cause, health.status) == ("refresh_retrying", "error")


def test_a_store_that_is_in_trouble_never_asks_for_a_login() -> None:
    for trouble in StoreTrouble:
        snapshot = Snapshot(connection=CONNECTED, grant=a_grant(tokens=DEAD), store_trouble=trouble)
        health = assess(snapshot, NOW)
        assert health.action != "login"
        assert health.level is Level.DEGRADED


def test_a_damaged_record_says_so_and_is_no_verdict_of_the_provider() -> None:
    health = assess(Snapshot(damage="the row was changed"), NOW)
    assert (health.cause, health.action) == ("grant_damaged", "login")
    assert "the row was changed" in health.detail


def test_a_server_that_rejects_fresh_tokens_has_a_cause_of_its_own() -> None:
    grant = a_grant(rejections=2, last_begun_at=NOW)
    grant = evolve(grant, TokenRejected(grant.tokens.access_token.fingerprint, NOW))
    health = assess(Snapshot(connection=CONNECTED, grant=grant), NOW)
    assert (health.cause, health.action) == ("rejected_though_fresh", "view_logs")
    assert "3 access tokens" in health.detail


@pytest.mark.parametrize(
    ("trouble", "cause", "action"),
    [
        (Trouble.NETWORK, "unreachable", "retry"),
        (Trouble.NOT_MCP, "not_mcp", "configure"),
        (Trouble.COMMAND, "command_failed", "view_logs"),
        (Trouble.SILENT, "not_answering", "restart"),
        (Trouble.CONFIGURATION, "misconfigured", "configure"),
        (Trouble.REJECTED, "rejected", "configure"),
        (Trouble.LOGIN_NEEDED, "login_required", "login"),
    ],
)
def test_every_connection_trouble_has_its_cause(trouble: Trouble, cause: str, action: str) -> None:
    connection = Connection(ConnectionState.ERROR, trouble=trouble, error="because", retry_at=NOW)
    health = assess(Snapshot(connection=connection), NOW)
    assert (health.cause, health.action, health.level) == (cause, action, Level.UNHEALTHY)


def test_a_login_hides_what_the_connection_said_before_it() -> None:
    before = Connection(ConnectionState.ERROR, trouble=Trouble.LOGIN_NEEDED)
    health = assess(Snapshot(connection=before, grant=a_grant()), NOW)
    assert health.action != "login"


def test_disabled_and_quarantined_servers_say_only_that() -> None:
    ended = a_grant(refusals=refused(3))
    disabled = assess(Snapshot(enabled=False, grant=ended), NOW)
    assert (disabled.status, disabled.admin_state, disabled.action) == (
        "disabled",
        "disabled",
        "enable",
    )
    quarantined = assess(Snapshot(quarantined=True, grant=ended), NOW)
    assert (quarantined.status, quarantined.admin_state) == ("quarantined", "quarantined")


def test_a_login_in_progress_is_shown_with_its_deadline() -> None:
    snapshot = Snapshot(login_until=NOW + timedelta(minutes=10))
    assert "2026-01-12T14:10:00Z" in assess(snapshot, NOW).detail


def test_every_template_speaks_only_of_what_facts_have() -> None:
    known = {"at", "in", "clock", "until", "n", "error", "tools", "held"}
    for cause in CAUSES:
        for text in (cause.line, cause.summary, cause.detail):
            used = {field for _, field, _, _ in string.Formatter().parse(text) if field}
            assert used <= known, cause.name


def test_cause_names_are_unique() -> None:
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (-5, "0s"),
        (0.4, "0s"),
        (40, "40s"),
        (60, "1m"),
        (250, "4m 10s"),
        (7500, "2h 5m"),
        (86400, "1d"),
        (100_000, "1d 3h"),
    ],
)
def test_a_countdown_is_short_and_never_negative(left: float, text: str) -> None:
    assert countdown(timedelta(seconds=left)) == text


def test_times_are_whole_seconds_in_utc() -> None:
    assert rfc3339(NOW + timedelta(microseconds=7)) == "2026-01-12T14:00:00Z"
    assert time_of_day(NOW, NOW, None) == "14:00"


def test_an_error_text_with_braces_is_shown_as_it_is() -> None:
    run = replace(failing(FailureKind.TRANSIENT, "{in} {x}"))
    health = assess(Snapshot(connection=CONNECTED, grant=a_grant(failures=run)), NOW)
    assert health.line.endswith("{in} {x}")
