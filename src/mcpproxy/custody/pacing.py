"""How fast one issuer is asked: a queue for each, in the order of who needs it most.

Law: pacing only ever delays. After a provider said that it was too much, it is asked at half the
speed it had just taken, or a quarter of ours, and not at all before the moment it named.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import Final

from mcpproxy.core.model import Grant, RefreshFailure
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.core.ports import Clock

NEVER: Final = timedelta.max
MEASURED_OVER: Final = timedelta(seconds=1)
SLOWEST: Final = 0.2
"""Attempts a second, however often a provider complains."""

FORGIVEN_AFTER: Final = timedelta(hours=1)
"""A provider that has not complained for so long is asked at full speed again."""


TOO_MANY_REQUESTS: Final = 429
UNAVAILABLE: Final = 503


def is_too_much(failure: RefreshFailure) -> bool:
    """Whether the provider said to all of us that it is asked too much."""
    asked_to_wait = failure.status == UNAVAILABLE and failure.retry_at is not None
    return asked_to_wait or failure.status == TOO_MANY_REQUESTS


RESCUE_SPACING: Final = timedelta(seconds=1)
"""After the last attempt, before one goes past a lane that is not open."""


class Urgency(IntEnum):
    """Who goes first. A window that closes costs a login, a wait costs patience."""

    WINDOW_CLOSING = 0
    CALLER_WAITS = 1
    EXPIRED = 2
    AHEAD_OF_TIME = 3


@dataclass(slots=True)
class _Lane:
    """One issuer's queue. `spacing` lies between two attempts, `open_at` is when the next may
    begin, `taken` when the last ones were answered without a complaint; it `is_shut` from a
    complaint until the moment that it named.
    """

    spacing: timedelta
    queue: list[tuple[Urgency, int, str]] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    open_at: timedelta = timedelta(0)
    complained_at: timedelta | None = None
    is_shut: bool = False
    begun_at: timedelta = timedelta.min
    taken: deque[timedelta] = field(default_factory=deque)


class Pacer:
    """Hands out the servers that may be refreshed now. Times are elapsed time."""

    def __init__(self, policy: RefreshPolicy) -> None:
        self._policy = policy
        self._spacing = timedelta(seconds=1 / policy.pace)
        self._lanes: dict[str, _Lane] = {}
        self._places: dict[str, tuple[str, Urgency, int]] = {}
        self._number = 0

    def offer(self, server: str, issuer: str, urgency: Urgency) -> None:
        """It is due. Offered again it keeps its place, or gets a better one."""
        place = self._places.get(server)
        if place is not None and place[0] == issuer and place[1] <= urgency:
            return
        self._number += 1
        number = place[2] if place is not None and place[0] == issuer else self._number
        self._places[server] = (issuer, urgency, number)
        lane = self._lane(issuer)
        heapq.heappush(lane.queue, (urgency, number, server))

    def withdraw(self, server: str) -> None:
        """It is not due any more."""
        self._places.pop(server, None)

    def ready(self, elapsed: timedelta) -> list[str]:
        """Who begins now; each is under way until `finished`."""
        return [
            server
            for issuer, lane in self._lanes.items()
            for server in self._ready_at(issuer, lane, elapsed)
        ]

    def finished(self, server: str, issuer: str, before: Grant, after: Grant, clock: Clock) -> None:
        """Its turn is over, with or without an attempt: the next of this issuer may go, unless
        the answer was that the provider is asked too much.
        """
        lane, elapsed = self._lane(issuer), clock.elapsed()
        lane.under_way.discard(server)
        if after.last_begun_at == before.last_begun_at:
            return
        if not lane.is_shut:
            _forget_old(lane, elapsed)
        failure = _failure_since(before, after)
        if failure is None or not is_too_much(failure):
            lane.taken.append(elapsed)
            return
        asked = failure.retry_at - clock.now() if failure.retry_at else self._policy.backoff_base
        lane.is_shut, lane.complained_at = True, elapsed
        lane.open_at = max(lane.open_at, elapsed + min(asked, self._policy.retry_after_cap))

    def _reopen(self, lane: _Lane) -> None:
        """The moment that it named has come. By now all that was under way is answered, so what
        the provider took, and how fast, is known.
        """
        taken, allowed = lane.taken, 1 / lane.spacing.total_seconds()
        span = max(MEASURED_OVER, taken[-1] - taken[0]) if taken else MEASURED_OVER
        took = len(taken) / span.total_seconds()
        pace = max(allowed / 2, min(took, allowed)) / 2
        lane.spacing, lane.is_shut = timedelta(seconds=1 / max(SLOWEST, pace)), False

    def shut_until(self, issuer: str) -> timedelta | None:
        """The moment that an issuer named when it complained, until it has come."""
        lane = self._lanes.get(issuer)
        return lane.open_at if lane is not None and lane.is_shut else None

    def next_at(self) -> timedelta:
        """When `ready` has somebody, if nothing happens before; NEVER: an end comes first."""
        return min(
            (self._opens(issuer, lane) for issuer, lane in self._lanes.items()), default=NEVER
        )

    def _opens(self, issuer: str, lane: _Lane) -> timedelta:
        full = len(lane.under_way) >= self._policy.in_flight
        if full or self._first(issuer, lane) is None:
            return NEVER
        closing = lane.queue[0][0] is Urgency.WINDOW_CLOSING
        return min(lane.open_at, lane.begun_at + RESCUE_SPACING) if closing else lane.open_at

    def _ready_at(self, issuer: str, lane: _Lane, elapsed: timedelta) -> list[str]:
        begun: list[str] = []
        if lane.is_shut and elapsed >= lane.open_at:
            self._reopen(lane)
        self._forgive(lane, elapsed)
        while len(lane.under_way) < self._policy.in_flight:
            server = self._first(issuer, lane)
            if server is None or not _may_go(lane, elapsed):
                break
            heapq.heappop(lane.queue)
            del self._places[server]
            lane.under_way.add(server)
            lane.begun_at = elapsed
            if elapsed >= lane.open_at:
                lane.open_at = max(lane.open_at, elapsed - self._allowance(lane)) + lane.spacing
            begun.append(server)
        return begun

    def _first(self, issuer: str, lane: _Lane) -> str | None:
        """The server at the head of the queue, places that were left or bettered cleared away."""
        queue = lane.queue
        while queue:
            urgency, number, server = queue[0]
            if self._places.get(server) == (issuer, urgency, number):
                return server
            heapq.heappop(queue)
        return None

    def _lane(self, issuer: str) -> _Lane:
        lane = self._lanes.get(issuer)
        if lane is None:
            lane = self._lanes[issuer] = _Lane(self._spacing)
            lane.open_at = -self._allowance(lane)
        return lane

    def _allowance(self, lane: _Lane) -> timedelta:
        """How far the pace may be overdrawn: who never complained is not made to wait for a few
        logins that wake together.
        """
        burst = self._policy.burst - 1 if lane.complained_at is None else 0
        return burst * lane.spacing

    def _forgive(self, lane: _Lane, elapsed: timedelta) -> None:
        if lane.complained_at is not None and elapsed - lane.complained_at > FORGIVEN_AFTER:
            lane.complained_at, lane.spacing = None, self._spacing


def _may_go(lane: _Lane, elapsed: timedelta) -> bool:
    """Whether the head of the queue may: when the lane is open; or, now and then, while it is
    not, if it would lose its login by waiting.
    """
    if elapsed >= lane.open_at:
        return True
    closing = lane.queue[0][0] is Urgency.WINDOW_CLOSING
    return closing and elapsed >= lane.begun_at + RESCUE_SPACING


def _forget_old(lane: _Lane, elapsed: timedelta) -> None:
    while lane.taken and lane.taken[0] <= elapsed - MEASURED_OVER:
        lane.taken.popleft()


def _failure_since(before: Grant, after: Grant) -> RefreshFailure | None:
    """How the last attempt failed, if it did."""
    run = after.failures
    return run.failure if run is not None and run != before.failures else None
