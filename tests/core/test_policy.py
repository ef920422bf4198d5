"""The numbers of refreshing."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.core.policy import (
    DEFAULT_POLICY,
    MAX_RETRY_BACKOFF,
    RETRY_BACKOFF_BASE,
    RefreshPolicy,
    calculate_backoff,
    is_alive,
    refresh_at,
)
from tests.builders import NOW, a_token_set


def test_the_constants_are_those_of_the_quickstart() -> None:
    assert timedelta(seconds=10) == RETRY_BACKOFF_BASE
    assert timedelta(minutes=5) == MAX_RETRY_BACKOFF


@pytest.mark.parametrize(
    ("retry_count", "expected"),
    [(0, 10), (1, 20), (2, 40), (3, 80), (4, 160), (5, 300), (10, 300), (10**9, 300)],
)
def test_exponential_backoff(retry_count: int, expected: int) -> None:
    assert calculate_backoff(retry_count) == timedelta(seconds=expected)


@given(st.integers(min_value=0), st.integers(1, 10**6), st.integers(1, 10**6))
def test_backoff_stays_between_base_and_cap_at_any_count_and_policy(
    count: int, base: int, cap: int
) -> None:
    policy = RefreshPolicy(
        backoff_base=timedelta(milliseconds=min(base, cap)), backoff_cap=timedelta(milliseconds=cap)
    )
    backoff = calculate_backoff(count, policy)
    assert policy.backoff_base <= backoff <= policy.backoff_cap
    assert calculate_backoff(count + 1, policy) >= backoff


def test_a_negative_retry_count_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        calculate_backoff(-1)


def test_a_refresh_is_due_at_four_fifths_of_the_life() -> None:
    assert refresh_at(a_token_set(life=timedelta(hours=1))) == NOW + timedelta(minutes=48)
    assert refresh_at(a_token_set(life=timedelta(seconds=30))) == NOW + timedelta(seconds=24)


def test_a_token_of_unknown_life_is_never_due_and_counts_as_alive() -> None:
    tokens = a_token_set(life=None)
    assert refresh_at(tokens) is None
    assert is_alive(tokens, NOW + timedelta(days=4000))


def test_a_token_is_dead_at_its_expiry() -> None:
    tokens = a_token_set(life=timedelta(hours=1))
    assert is_alive(tokens, NOW + timedelta(minutes=59, seconds=59))
    assert not is_alive(tokens, NOW + timedelta(hours=1))


def test_an_attempt_fits_inside_its_lease_and_inside_a_thirty_second_replay_window() -> None:
    attempt = DEFAULT_POLICY.connect_timeout + DEFAULT_POLICY.answer_timeout
    assert attempt < timedelta(seconds=30)
    assert attempt < DEFAULT_POLICY.lease_ttl
    with pytest.raises(ValueError, match="fit inside its lease"):
        RefreshPolicy(lease_ttl=timedelta(seconds=25))


@pytest.mark.parametrize(
    "wrong",
    [{"pace": 0.0}, {"pace": 1e7}, {"pace": float("nan")}, {"burst": 0}, {"in_flight": 10**20}],
)
def test_a_pace_that_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        RefreshPolicy(**wrong)
