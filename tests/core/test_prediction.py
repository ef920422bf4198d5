"""Ends in sight: what shrinking lives, secrets and known limits say, and what they must not."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from mcpproxy.core.evolution import learn
from mcpproxy.core.health import Snapshot, assess
from mcpproxy.core.model import Learned, TokenSet
from mcpproxy.core.prediction import predicted_end
from tests.builders import NOW, a_grant, a_token_set

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def after(*sets: TokenSet) -> Learned:
    """What a row of answers taught."""
    known = Learned()
    for old, new in pairwise(sets):
        known = learn(known, old, new)
    return known


def made(at: int, life: timedelta | None) -> TokenSet:
    """Issued `at` minutes from NOW."""
    return a_token_set(number=at, issued_at=NOW + at * MINUTE, life=life)


def test_a_shorter_life_after_steady_ones_tells_the_end() -> None:
    known = after(*(made(n * 48, HOUR) for n in range(5)), made(240, 20 * MINUTE))
    assert known.ends_at == NOW + 260 * MINUTE


def test_two_lives_that_end_together_tell_the_end_too() -> None:
    known = after(made(0, HOUR), made(48, HOUR), made(96, 40 * MINUTE))
    assert known.ends_at is None
    known = learn(known, made(96, 40 * MINUTE), made(128, 8 * MINUTE))
    assert known.ends_at == NOW + 136 * MINUTE


def test_a_provider_that_made_its_lives_shorter_is_not_taken_for_an_end() -> None:
    sets = [*(made(n * 48, HOUR) for n in range(5)), made(240, 30 * MINUTE)]
    assert after(*sets).ends_at is not None
    assert after(*sets, made(264, 30 * MINUTE)).ends_at is None


def test_lives_that_vary_a_little_tell_nothing() -> None:
    known = after(*(made(n * 48, HOUR - n * timedelta(seconds=1)) for n in range(8)))
    assert known.ends_at is None


def test_whether_a_provider_rotates_is_learned() -> None:
    old, new = made(0, HOUR), made(48, HOUR)
    assert after(old, new).rotates is True
    same = replace(new, refresh_token=old.refresh_token)
    assert after(old, same).rotates is False
    assert after(old, replace(new, refresh_token=None)).rotates is False


def test_a_known_absolute_end_is_shown_three_days_before() -> None:
    grant = a_grant(issuer="https://mcp.sentry.dev", tokens=a_token_set(issued_at=NOW, life=HOUR))
    end = predicted_end(grant)
    assert end is not None
    assert end.at == NOW + timedelta(days=30)
    early = replace(grant, logged_in_at=NOW - timedelta(days=20))
    late = replace(grant, logged_in_at=NOW - timedelta(days=28))
    assert assess(Snapshot(grant=early), NOW).cause != "grant_ends"
    health = assess(Snapshot(grant=late), NOW)
    assert (health.cause, health.action) == ("grant_ends", "")
    assert "Sentry ends every login after 30 days" in health.detail


def test_a_client_secret_that_ends_is_told_unless_it_can_be_renewed() -> None:
    grant = a_grant()
    ends = replace(grant.client, secret_expires_at=NOW + HOUR)
    told = predicted_end(replace(grant, client=ends))
    assert told is not None
    assert told.at == NOW + HOUR
    renewable = replace(ends, registration_uri="https://auth.example.com/register/1")
    assert predicted_end(replace(grant, client=renewable)) is None
