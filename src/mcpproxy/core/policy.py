"""The numbers of refreshing, and the arithmetic on them.

Law: every number of custody stands here once; a test that wants a faster world builds its own
`RefreshPolicy`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.model import TokenSet

RETRY_BACKOFF_BASE: Final = timedelta(seconds=10)
MAX_RETRY_BACKOFF: Final = timedelta(minutes=5)

MIN_PACE: Final = 0.01
MAX_PACE: Final = 1000.0
MAX_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """When to refresh, how long to wait and how often to ask.

    The invariant `connect_timeout + answer_timeout < lease_ttl` keeps an attempt inside its
    lease; together they stay under 30 s, the replay window of the providers that have one.
    `keep_alive` is the longest time without a refresh, so that no provider takes a login for
    abandoned; `pace` is how many attempts a second one issuer sees at most, after a `burst` of so
    many, `in_flight` how many at once.
    """

    backoff_base: timedelta = RETRY_BACKOFF_BASE
    backoff_cap: timedelta = MAX_RETRY_BACKOFF
    min_interval: timedelta = timedelta(seconds=10)
    refresh_fraction: float = 0.8
    confirm_after: timedelta = timedelta(seconds=10)
    probe_after: timedelta = timedelta(seconds=90)
    connect_timeout: timedelta = timedelta(seconds=5)
    answer_timeout: timedelta = timedelta(seconds=20)
    lease_ttl: timedelta = timedelta(seconds=40)
    token_wait: timedelta = timedelta(seconds=15)
    retry_after_cap: timedelta = timedelta(hours=1)
    keep_alive: timedelta = timedelta(days=7)
    pace: float = 8.0
    burst: int = 32
    in_flight: int = 32

    def __post_init__(self) -> None:
        if self.backoff_base <= timedelta(0) or self.min_interval <= timedelta(0):
            raise ValueError("backoff_base and min_interval must be more than 0 s")
        if self.backoff_cap < self.backoff_base:
            raise ValueError("backoff_cap must not be less than backoff_base")
        if not 0 < self.refresh_fraction < 1:
            raise ValueError("refresh_fraction must lie between 0 and 1")
        if self.keep_alive <= timedelta(0):
            raise ValueError("keep_alive must be more than 0 s")
        if not MIN_PACE <= self.pace <= MAX_PACE:
            raise ValueError(
                f"pace must lie between {MIN_PACE:g} and {MAX_PACE:g} attempts a second"
            )
        if not (1 <= self.burst <= MAX_AT_ONCE and 1 <= self.in_flight <= MAX_AT_ONCE):
            raise ValueError(f"burst and in_flight must lie between 1 and {MAX_AT_ONCE}")
        if self.connect_timeout + self.answer_timeout >= self.lease_ttl:
            raise ValueError("an attempt must fit inside its lease: connect + answer < lease_ttl")


DEFAULT_POLICY: Final = RefreshPolicy()


def calculate_backoff(retry_count: int, policy: RefreshPolicy = DEFAULT_POLICY) -> timedelta:
    """How long retry number `retry_count` (from 0) waits: 10, 20, 40, 80, 160, 300, 300 ... s.

    Never overflows: the exponent is bounded by the count at which the cap is reached.
    """
    if retry_count < 0:
        raise ValueError(f"retry_count must be 0 or more, not {retry_count}")
    steps_to_cap = max(0, int(policy.backoff_cap / policy.backoff_base)).bit_length()
    doublings = min(retry_count, steps_to_cap)
    return min(policy.backoff_base * (1 << doublings), policy.backoff_cap)


def refresh_at(tokens: TokenSet, policy: RefreshPolicy = DEFAULT_POLICY) -> datetime | None:
    """When this token set is due for its proactive refresh: at 80 % of its life.

    None when the life is unknown: then the token is refreshed when the upstream refuses it.
    """
    if tokens.expires_at is None:
        return None
    return tokens.issued_at + (tokens.expires_at - tokens.issued_at) * policy.refresh_fraction


def is_alive(tokens: TokenSet, now: datetime) -> bool:
    """Whether the access token may still work; an unknown expiry counts as alive."""
    return tokens.expires_at is None or now < tokens.expires_at
