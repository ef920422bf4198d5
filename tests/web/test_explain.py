"""Explanations: facts in words."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.model import (
    Attempt,
    FailureKind,
    FailureRun,
    Grant,
    Learned,
    Phase,
    RefreshCause,
    RefreshFailure,
    Refusals,
    Secret,
    TokenSet,
)
from mcpproxy.web.explain import Explanation, explain
from tests.web.stubs import ACCESS_CANARY, CLIENT_CANARY, NOW, REFRESH_CANARY, World, web_parts

LATER = NOW + timedelta(minutes=30)
BUSY = RefreshFailure(FailureKind.TRANSIENT, "HTTP 503", status=503)
LOST = RefreshFailure(FailureKind.UNKNOWN, "no answer within 20 s")
DEAD = RefreshFailure(FailureKind.REFUSED, "dead", code="invalid_grant")


def explained(change: Callable[[Grant], Grant] = lambda grant: grant) -> Explanation:
    world = World()
    world.clock.time = LATER
    made = world.add_oauth("one")
    tokens = replace(made.tokens, issued_at=NOW, expires_at=NOW + timedelta(hours=1))
    world.grant_facts["one"] = change(replace(made, tokens=tokens, logged_in_at=NOW))
    health = web_parts(world).monitor.health("one")
    connection, grant = world.connection("one"), world.grant("one")
    return explain(world.servers["one"], health, connection, grant, LATER)


def text(found: Explanation) -> str:
    return "\n".join((*found.lines, *found.outlook))


def test_a_healthy_login_says_what_comes_next_and_what_would_end_it() -> None:
    found = explained()
    assert found.next_step == "Nothing to do."
    assert "It is connected and offers 5 tools." in found.lines
    assert "generation 1" in text(found)
    assert "works until 2026-01-12T15:05:00Z (in 30m)" in text(found)
    assert "Next: a refresh 2026-01-12T14:53:00Z (in 18m), at 80 %" in text(found)
    assert "Only the provider's confirmed refusal or a logout ends it" in text(found)


@pytest.mark.parametrize(
    ("seconds", "words"), [(23, "is due 2026-01-12T14:35:23Z (in 23s)."), (-23, "is due now.")]
)
def test_the_next_attempt_to_connect_is_never_due_in_the_past(seconds: int, words: str) -> None:
    retry_at = LATER + timedelta(seconds=seconds)
    connection = Connection(ConnectionState.ERROR, error="refused", retry_at=retry_at)
    world = World()
    world.add_oauth("one")
    health = web_parts(world).monitor.health("one")
    found = explain(world.servers["one"], health, connection, None, LATER)
    assert f"The next attempt to connect {words}" in found.lines


def test_a_failing_refresh_says_how_often_since_when_and_that_calls_go_on() -> None:
    run = FailureRun(3, NOW, LATER, BUSY)
    found = explained(lambda grant: replace(grant, failures=run))
    assert "failed 3 times since 2026-01-12T14:05:00Z (30m ago)" in text(found)
    assert "HTTP 503" in text(found)
    assert "Calls go on working" in text(found)
    assert "to try again after the failure" in text(found)
    assert "mcpproxy upstream logs one" in found.next_step


def test_an_answer_that_never_arrived_is_called_that() -> None:
    run = FailureRun(1, LATER, LATER, LOST)
    found = explained(lambda grant: replace(grant, failures=run, unanswered=1))
    assert "it was sent, but no answer arrived" in text(found)
    assert "to send the same request again" in text(found)


@pytest.mark.parametrize(
    ("unanswered", "words"), [(0, "The provider ended this login"), (1, "never arrived here")]
)
def test_an_ended_login_carries_its_verdict_and_evidence(unanswered: int, words: str) -> None:
    refusals = Refusals(2, NOW, NOW, DEAD)
    found = explained(lambda grant: replace(grant, refusals=refusals, unanswered=unanswered))
    assert words in text(found)
    assert "invalid_grant" in text(found)
    assert "kept as evidence" in text(found)
    assert found.action == "login"
    assert found.next_step == "Log in again: mcpproxy auth login one"


def test_an_attempt_under_way_is_told() -> None:
    attempt = Attempt("a1", LATER, 1, "f", "pid 1", RefreshCause.SCHEDULED, Phase.SENDING)
    found = explained(lambda grant: replace(grant, attempt=attempt))
    assert "attempt a1) and its request was sent" in text(found)


def test_a_server_without_a_login_says_so() -> None:
    world = World()
    world.add_oauth("one")
    world.grant_facts.clear()
    health = web_parts(world).monitor.health("one")
    found = explain(world.servers["one"], health, world.connection("one"), None, NOW)
    assert "No login is stored for this server." in found.lines


def test_no_explanation_holds_a_secret() -> None:
    attempt = Attempt(
        "a1", LATER, 1, "f", "pid 1", RefreshCause.RETRY, Phase.SENDING, Secret("canary-answer")
    )
    run, refusals = FailureRun(1, NOW, NOW, LOST), Refusals(1, NOW, NOW, DEAD)
    found = explained(
        lambda grant: replace(grant, attempt=attempt, failures=run, refusals=refusals)
    )
    for canary in (ACCESS_CANARY, REFRESH_CANARY, CLIENT_CANARY, "canary-answer"):
        assert canary not in str(found)


def test_what_is_known_and_learned_of_the_provider_is_told() -> None:
    learned = Learned(True, timedelta(hours=1), 3, NOW + timedelta(days=2))
    found = explained(
        lambda grant: replace(grant, issuer="https://mcp.sentry.dev", learned=learned)
    )
    assert (
        "The provider's answers showed: a refresh brings a new refresh token, its access tokens "
        "live 1h." in found.lines
    )
    assert "Known of Sentry: every login ends after 30 days; one-deep rotation." in found.lines
    assert found.outlook[1] == (
        "This login ends 2026-01-14T14:05:00Z (in 1d 23h), because the provider's access tokens "
        "get shorter towards it."
    )


def test_nothing_is_told_of_a_provider_of_which_nothing_is_known() -> None:
    assert "Known of" not in text(explained())
    assert "answers showed" not in text(explained())


def test_a_refresh_ahead_of_the_providers_patience_says_why() -> None:
    tokens = TokenSet(Secret("a"), Secret("r"), NOW, NOW + timedelta(days=365))
    found = explained(lambda grant: replace(grant, tokens=tokens))
    assert "does not take the login for abandoned" in found.outlook[0]
