"""Every cause by the facts that make it, in its words, and which of two is shown."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.causes import CAUSE_BY_NAME, CAUSES, Action, Level
from mcpproxy.core.errors import StoreTrouble
from mcpproxy.core.health import Snapshot, assess, changes_at
from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import FailureKind, Grant, Learned, Suspect
from tests.builders import NOW, a_client, a_grant
from tests.core.examples import (
    CONFIGURED,
    CONNECTED,
    DAY,
    DEAD,
    EXAMPLES,
    NEEDS_LOGIN,
    SECOND,
    failing,
    of,
    refused,
)


def test_every_cause_has_its_example() -> None:
    assert set(EXAMPLES) == {cause.name for cause in CAUSES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_cause_is_made_by_its_facts_and_says_them(name: str) -> None:
    example = EXAMPLES[name]
    health = assess(example.snapshot, NOW)
    assert health.cause == name
    assert (health.line, health.detail, health.action) == (
        example.line,
        example.detail,
        example.action,
    )
    assert health.level is CAUSE_BY_NAME[name].level


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_countdown_is_shown_wherever_an_attempt_is_to_come(name: str) -> None:
    """All of a refresh's own troubles say when the next attempt is, and how long that is."""
    if not name.startswith(("refresh_", "client_renewing", "rejected_though")):
        return
    cause = CAUSE_BY_NAME[name]
    if cause.level is Level.HEALTHY:
        return
    assert "{in}" in cause.line
    assert "{at}" in cause.detail or "{in}" in cause.detail


def test_a_login_is_asked_for_only_where_one_is_missing_or_the_contract_says_so() -> None:
    asking = {cause.name for cause in CAUSES if cause.action is Action.LOGIN}
    over = {
        "grant_damaged",
        "grant_ended",
        "grant_lost_in_transit",
        "client_ended",
        "no_refresh_token",
        "logged_out",
        "login_required",
        "scope_needed",
    }
    assert asking - over == {"login_pending", "refresh_refused"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_time_alone_changes_no_cause_before_it_is_said_to(name: str) -> None:
    """So that nobody has to look in between."""
    snapshot, now = EXAMPLES[name].snapshot, NOW
    until = min(changes_at(snapshot, now), now + timedelta(days=40))
    cause = assess(snapshot, now).cause
    for part in range(1, 200):
        then = now + (until - now) * part / 200
        assert assess(snapshot, then).cause == cause, then


# --- which of two is shown ------------------------------------------------------------------


@pytest.mark.parametrize("trouble", StoreTrouble)
@pytest.mark.parametrize("logged_out_at", [None, NOW])
def test_trouble_of_the_store_hides_that_no_login_is_known(
    trouble: StoreTrouble, logged_out_at: object
) -> None:
    snapshot = Snapshot(
        connection=NEEDS_LOGIN,
        store_trouble=trouble,
        logged_out_at=NOW if logged_out_at else None,
    )
    assert assess(snapshot, NOW).action != "login"


@pytest.mark.parametrize("trouble", StoreTrouble)
@pytest.mark.parametrize(
    "snapshot", [EXAMPLES["connected"].snapshot, EXAMPLES["command_failed"].snapshot]
)
def test_servers_without_a_login_have_no_part_in_the_stores_trouble(
    trouble: StoreTrouble, snapshot: Snapshot
) -> None:
    assert assess(replace(snapshot, store_trouble=trouble), NOW) == assess(snapshot, NOW)


def test_a_network_that_asks_to_sign_in_explains_more_than_an_endpoint_that_is_gone() -> None:
    gone = failing(FailureKind.TRANSIENT, "HTTP 302", status=302)
    assert assess(of(failures=gone), NOW).cause == "refresh_endpoint_gone"
    page = replace(gone, failure=replace(gone.failure, suspect=Suspect.PORTAL))
    assert assess(of(failures=page), NOW).cause == "refresh_sign_in_page"


@pytest.mark.parametrize(
    ("status", "wait", "cause"),
    [
        (429, 40 * SECOND, "refresh_rate_limited"),
        (503, 40 * SECOND, "refresh_rate_limited"),
        (429, None, "refresh_retrying"),
        (500, 40 * SECOND, "refresh_retrying"),
        (None, 40 * SECOND, "refresh_retrying"),
    ],
)
def test_a_wait_is_the_providers_wish_only_where_it_said_so(
    status: int | None, wait: timedelta | None, cause: str
) -> None:
    run = failing(FailureKind.TRANSIENT, "busy", status=status, wait=wait)
    assert assess(of(failures=run), NOW).cause == cause


def test_a_longer_wait_than_is_obeyed_is_told_with_both_times() -> None:
    run = failing(FailureKind.TRANSIENT, "HTTP 429", status=429, wait=5 * 3600 * SECOND)
    health = assess(of(failures=run), NOW)
    assert health.line == "Refresh retry 2 in 1h: provider asks to wait until 19:00"


@pytest.mark.parametrize(
    ("client", "count", "cause"),
    [
        (a_client(), 1, "client_renewing"),
        (a_client(), 2, "client_renewing"),
        (a_client(), 3, "client_renewing"),
        (a_client(), 4, "client_ended"),
        (CONFIGURED, 1, "client_ended"),
    ],
)
def test_a_refused_client_ends_a_login_only_once_nothing_can_be_mended(
    client: object, count: int, cause: str
) -> None:
    refusals = replace(refused(count, "invalid_client"), repaired=3 if count > 3 else 0)
    snapshot = of(client=client, refusals=refusals, tokens=DEAD)
    assert assess(snapshot, NOW).cause == cause
    grant = snapshot.grant
    assert isinstance(grant, Grant)
    assert (ending(grant, NOW) is None) == (cause == "client_renewing")


def test_an_end_that_is_far_off_or_proved_wrong_is_not_spoken_of() -> None:
    for ends_at in (NOW + 4 * DAY, NOW - SECOND):
        health = assess(of(learned=Learned(ends_at=ends_at)), NOW)
        assert health.cause == "refresh_scheduled"


def test_trouble_with_the_refresh_outranks_an_end_in_sight() -> None:
    run = failing(FailureKind.TRANSIENT, "HTTP 500", status=500)
    snapshot = of(learned=Learned(ends_at=NOW + DAY), failures=run)
    assert assess(snapshot, NOW).cause == "refresh_retrying"


def test_a_living_login_hides_what_was_said_before_it_whatever_the_clock_says() -> None:
    snapshot = Snapshot(connection=NEEDS_LOGIN, grant=a_grant(), logged_out_at=NOW - DAY)
    assert assess(snapshot, NOW).cause == "connecting"


def test_a_server_that_needs_no_login_is_not_called_logged_out() -> None:
    snapshot = Snapshot(connection=CONNECTED, logged_out_at=NOW - DAY)
    assert assess(snapshot, NOW).cause == "connected"
