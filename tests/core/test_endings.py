"""Who may end a grant, and what an upstream's refusals mean."""

from dataclasses import replace

from mcpproxy.core.events import (
    AttemptBegan,
    ClientRenewed,
    RepairBegan,
    RepairFailed,
    TokenAccepted,
    TokenRejected,
    TokensIssued,
)
from mcpproxy.core.evolution import evolve
from mcpproxy.core.lifecycle import (
    AwaitLogin,
    RefreshNow,
    Rest,
    WaitUntil,
    ending,
    is_usable,
    plan,
)
from mcpproxy.core.model import FailureKind, RefreshCause, Verdict
from mcpproxy.core.policy import calculate_backoff
from mcpproxy.core.repair import Repair, repair_due
from tests.builders import NOW, a_grant, a_token_set, an_attempt
from tests.core.attempts import HOUR, MINUTE, SECOND, fail

DUE = a_token_set(issued_at=NOW - 48 * MINUTE)
"""At 80 % of its life."""


def test_a_first_refusal_is_confirmed_before_it_is_believed() -> None:
    grant = fail(a_grant(tokens=DUE), 0, FailureKind.REFUSED, code="invalid_grant")
    assert ending(grant, NOW + SECOND) is None
    assert plan(grant, NOW + SECOND) == WaitUntil(NOW + 10 * SECOND, RefreshCause.CONFIRM)


def test_a_confirmed_refusal_is_the_providers_verdict_and_is_probed_once_more_then_left() -> None:
    dying = a_token_set(issued_at=NOW - HOUR + 40 * SECOND)
    grant = fail(a_grant(tokens=dying), 0, FailureKind.REFUSED, code="invalid_grant")
    grant = fail(grant, 10, FailureKind.REFUSED, code="invalid_grant")
    ended = ending(grant, NOW + 12 * SECOND)
    assert ended is not None
    assert (ended.verdict, ended.evidence) == (Verdict.PROVIDER_ENDED, "invalid_grant")
    assert plan(grant, NOW + 12 * SECOND) == WaitUntil(NOW + 90 * SECOND, RefreshCause.PROBE)
    grant = fail(grant, 90, FailureKind.REFUSED, code="invalid_grant")
    assert plan(grant, NOW + 1000 * HOUR) == AwaitLogin()


def test_a_refusal_in_the_providers_own_words_is_quoted_whole() -> None:
    grant = a_grant()
    for begun in (0, 10):
        detail = "bad_refresh_token: it has expired"
        grant = fail(grant, begun, FailureKind.REFUSED, code="invalid_grant", detail=detail)
    ended = ending(grant, NOW + 12 * SECOND)
    assert ended is not None
    assert ended.evidence == "bad_refresh_token: it has expired"


def test_a_refusal_stands_at_once_when_the_access_token_is_dead_too() -> None:
    dead = a_grant(tokens=a_token_set(issued_at=NOW - 2 * HOUR))
    refused = fail(dead, 0, FailureKind.REFUSED, code="invalid_grant")
    ended = ending(refused, NOW + SECOND)
    assert ended is not None
    assert ended.verdict is Verdict.PROVIDER_ENDED


def test_a_quiet_probe_can_revive_the_grant() -> None:
    grant = fail(a_grant(), 0, FailureKind.REFUSED, code="invalid_grant")
    grant = fail(grant, 10, FailureKind.REFUSED, code="invalid_grant")
    attempt = an_attempt(90, begun_at=NOW + 90 * SECOND)
    grant = evolve(grant, AttemptBegan(attempt))
    grant = evolve(grant, TokensIssued(attempt.attempt_id, 1, a_token_set(number=2), NOW))
    assert ending(grant, NOW + 91 * SECOND) is None


def test_a_refusal_after_a_lost_answer_is_told_as_lost_in_transit() -> None:
    grant = fail(a_grant(), 0, FailureKind.UNKNOWN)
    grant = fail(grant, 10, FailureKind.REFUSED, code="invalid_grant")
    grant = fail(grant, 20, FailureKind.REFUSED, code="invalid_grant")
    ended = ending(grant, NOW + 21 * SECOND)
    assert ended is not None
    assert ended.verdict is Verdict.LOST_IN_TRANSIT


def test_a_dead_client_registration_is_told_apart_from_a_dead_grant() -> None:
    grant = fail(a_grant(), 0, FailureKind.REFUSED, code="invalid_client")
    grant = fail(grant, 10, FailureKind.REFUSED, code="invalid_client")
    assert ending(grant, NOW + 21 * SECOND) is None, "a client can be registered anew"
    grant = fail(grant, 90, FailureKind.REFUSED, code="invalid_client")
    assert repair_due(grant, NOW + 91 * SECOND) is Repair.CLIENT
    grant = evolve(grant, RepairBegan(NOW + 100 * SECOND))
    in_vain = ending(evolve(grant, RepairFailed()), NOW + 101 * SECOND)
    assert in_vain is not None
    renewed = evolve(grant, ClientRenewed(replace(grant.client, client_id="2"), grant.client))
    assert ending(renewed, NOW + 101 * SECOND) is None, "it has not been tried"
    grant = fail(renewed, 101, FailureKind.REFUSED, code="invalid_client")
    ended = ending(grant, NOW + 102 * SECOND)
    assert ended is not None
    assert ended.verdict is Verdict.CLIENT_ENDED


def test_a_client_that_is_renewed_late_is_tried_though_its_renewal_was_given_up() -> None:
    grant = a_grant()
    for n in range(3):
        grant = fail(grant, n * 10, FailureKind.REFUSED, code="invalid_client")
    grant = evolve(grant, RepairBegan(NOW + 30 * SECOND))
    later = NOW + 60 * SECOND
    assert ending(grant, later) is None
    grant = evolve(grant, RepairFailed())
    assert ending(grant, later) is not None
    renewed = replace(grant.client, client_id="client-2")
    grant = evolve(grant, ClientRenewed(renewed, grant.client))
    assert ending(grant, later) is None
    assert plan(grant, later) == RefreshNow(RefreshCause.CONFIRM)
    grant = fail(grant, 60, FailureKind.REFUSED, code="invalid_client")
    assert ending(grant, later) is not None


def test_without_a_refresh_token_the_login_ends_with_its_access_token() -> None:
    grant = a_grant(tokens=a_token_set(refresh_token=None))
    assert plan(grant, NOW) == Rest()
    assert ending(grant, NOW) is None
    assert plan(grant, NOW + HOUR) == AwaitLogin()
    ended = ending(grant, NOW + HOUR)
    assert ended is not None
    assert ended.verdict is Verdict.NO_REFRESH_TOKEN


def test_one_stray_401_does_not_end_a_login_that_cannot_be_refreshed() -> None:
    grant = a_grant(tokens=a_token_set(refresh_token=None))
    fingerprint = grant.tokens.access_token.fingerprint
    grant = evolve(grant, TokenRejected(fingerprint, NOW))
    assert ending(grant, NOW + SECOND) is None
    assert not is_usable(grant, NOW + 9 * SECOND)
    assert is_usable(grant, NOW + 10 * SECOND)
    accepted = evolve(grant, TokenAccepted(fingerprint))
    assert is_usable(accepted, NOW + 11 * SECOND)
    assert accepted.rejections == 0


def test_a_token_that_goes_on_being_refused_and_cannot_be_refreshed_is_believed_dead() -> None:
    grant = a_grant(tokens=a_token_set(refresh_token=None))
    fingerprint = grant.tokens.access_token.fingerprint
    for at in (0, 1, 2, 10, 11, 30):
        assert ending(grant, NOW + at * SECOND) is None
        grant = evolve(grant, TokenRejected(fingerprint, NOW + at * SECOND))
    ended = ending(grant, NOW + 30 * SECOND)
    assert grant.rejections == 3
    assert ended is not None
    assert ended.verdict is Verdict.NO_REFRESH_TOKEN


def test_a_refused_token_stays_in_use_while_the_provider_is_down() -> None:
    grant = a_grant()
    grant = evolve(grant, TokenRejected(grant.tokens.access_token.fingerprint, NOW))
    assert not is_usable(grant, NOW + 20 * SECOND), "a refresh is due first"
    grant = fail(grant, 0, FailureKind.TRANSIENT)
    assert is_usable(grant, NOW + 10 * SECOND)


def test_an_upstream_that_rejects_fresh_tokens_is_braked_and_forgiven_when_it_takes_one() -> None:
    grant = a_grant()
    for n in range(1, 5):
        rejected_at = NOW + n * HOUR
        grant = evolve(grant, TokenRejected(grant.tokens.access_token.fingerprint, rejected_at))
        assert grant.rejections == n
        begun_at = NOW + n * HOUR
        attempt = an_attempt(n, begun_at=begun_at, generation=grant.generation)
        step = plan(grant, begun_at)
        assert step == RefreshNow(RefreshCause.CHALLENGED)
        grant = evolve(grant, AttemptBegan(attempt))
        tokens = a_token_set(number=n + 1, issued_at=begun_at)
        grant = evolve(grant, TokensIssued(attempt.attempt_id, n, tokens, begun_at))
    grant = evolve(grant, TokenRejected("access-5-but-not-really", NOW))
    assert grant.rejected is None
    grant = evolve(grant, TokenRejected(grant.tokens.access_token.fingerprint, NOW))
    last_begun = NOW + 4 * HOUR
    expected = last_begun + calculate_backoff(3)
    assert plan(grant, last_begun + SECOND) == WaitUntil(expected, RefreshCause.CHALLENGED)
    forgiven = evolve(grant, TokenAccepted(grant.tokens.access_token.fingerprint))
    assert (forgiven.rejected, forgiven.rejections) == (None, 0)
