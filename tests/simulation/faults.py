"""What goes wrong, when: drawn from the seed, at every boundary between our code and the world.

Law: after an answer was lost the world leaves that login alone for `QUIET` seconds: a second
misfortune inside the provider's replay window is nobody's to survive.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

QUIET: Final = 75.0
"""Longer than the longest replay window, in seconds."""

ALL: Final = "*"


class Fault(StrEnum):
    """Every kind of trouble this world knows."""

    REFUSED = "connection refused"
    RESET_BEFORE = "reset before the provider read the request"
    RESET_AFTER = "reset after the provider answered"
    SILENCE_AFTER = "no answer within the time limit, though the provider answered"
    TRUNCATED = "answer cut off somewhere"
    SLOW = "answer late, but within the time limit"
    HTTP_503 = "503 before processing"
    HTTP_429 = "429 with Retry-After"
    PORTAL = "200 with a web page"
    BAD_JSON = "200 with broken JSON of somebody else"
    ONE_OFF_REFUSAL = "invalid_grant from a replica that lags"
    CRASH = "kill -9 at an I/O boundary"
    PAUSED = "a process stands still for longer than its lease"
    STALE_READ = "the store answers with an older state"
    STORE_FULL = "the store takes no writes for a while"
    CALLER_GONE = "a caller is cancelled while it waits"
    TERMINATED = "SIGTERM"
    OUTAGE = "the provider is down for a while"
    SUSPEND = "the machine sleeps"
    CLOCK_STEP = "the wall clock is set"
    NETWORK_CHANGE = "routes or addresses change"
    TOKEN_REVOKED = "an access token dies before its time"
    LOGIN_ENDED = "the provider ends a login"


WIRE_FAULTS: Final = (
    Fault.REFUSED,
    Fault.RESET_BEFORE,
    Fault.RESET_AFTER,
    Fault.SILENCE_AFTER,
    Fault.TRUNCATED,
    Fault.SLOW,
    Fault.HTTP_503,
    Fault.HTTP_429,
    Fault.PORTAL,
    Fault.BAD_JSON,
    Fault.ONE_OFF_REFUSAL,
)

LOSES_THE_ANSWER: Final = frozenset({Fault.RESET_AFTER, Fault.SILENCE_AFTER, Fault.TRUNCATED})

HOURS: Final[Mapping[Fault, float]] = {
    Fault.TERMINATED: 2.0,
    Fault.OUTAGE: 8.0,
    Fault.SUSPEND: 6.0,
    Fault.CLOCK_STEP: 6.0,
    Fault.NETWORK_CHANGE: 3.0,
    Fault.TOKEN_REVOKED: 0.5,
    Fault.LOGIN_ENDED: 6.0,
}
"""How many hours lie between two of these, on average."""


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Chances. `wire` is for one exchange; `crash`, `paused`, `stale` and `full` are for one
    boundary; `caller_gone` for one call; `hours` between two troubles of the whole world.
    """

    wire: float = 0.06
    wire_faults: tuple[Fault, ...] = WIRE_FAULTS
    crash: float = 0.002
    paused: float = 0.0005
    stale: float = 0.01
    full: float = 0.0005
    caller_gone: float = 0.2
    hours: Mapping[Fault, float] = field(default_factory=lambda: HOURS)


NO_FAULTS: Final = FaultRates(wire=0, crash=0, paused=0, stale=0, full=0, caller_gone=0, hours={})


class FaultSource:
    """Draws faults and counts them."""

    def __init__(self, random: Random, rates: FaultRates) -> None:
        self._random = random
        self._rates = rates
        self._quiet_until: dict[str, float] = {}
        self.counts: dict[Fault, int] = dict.fromkeys(Fault, 0)
        self._next_at = {fault: self._gap(fault) for fault in rates.hours}

    def cease(self) -> None:
        """From now on the world is kind."""
        self._rates = NO_FAULTS
        self._next_at.clear()

    # --- where and when -----------------------------------------------------------------------

    def wire(self, server: str, now: float) -> Fault | None:
        if self.is_quiet(server, now) or self._random.random() >= self._rates.wire:
            return None
        return self.count(self._random.choice(self._rates.wire_faults))

    def crash(self, now: float, *, busy_with: list[str]) -> bool:
        """Whether the process dies here. `busy_with` are the servers it has requests under way
        for: a login that just lost an answer does not lose the next one too.
        """
        if self._random.random() >= self._rates.crash or self.is_quiet(ALL, now):
            return False
        if any(self.is_quiet(server, now) for server in busy_with):
            return False
        self.count(Fault.CRASH)
        return True

    def paused(self, now: float) -> bool:
        if self._random.random() >= self._rates.paused or self.any_quiet(now):
            return False
        self.count(Fault.PAUSED)
        return True

    def stale(self) -> bool:
        return self._chance(self._rates.stale, Fault.STALE_READ)

    def full(self, now: float) -> bool:
        if self._random.random() >= self._rates.full or self.any_quiet(now):
            return False
        self.count(Fault.STORE_FULL)
        return True

    def caller_gone(self) -> bool:
        return self._chance(self._rates.caller_gone, Fault.CALLER_GONE)

    def due(self, now: float) -> list[Fault]:
        """The troubles of the whole world that come now; counted by who makes them happen."""
        due = [fault for fault, at in self._next_at.items() if at <= now]
        for fault in due:
            self._next_at[fault] = now + self._gap(fault)
        return due

    def count(self, fault: Fault) -> Fault:
        self.counts[fault] += 1
        return fault

    # --- mercy --------------------------------------------------------------------------------

    def be_quiet(self, server: str, now: float) -> None:
        """No more misfortune for this login (or ALL) for a while from `now`."""
        self._quiet_until[server] = max(now + QUIET, self._quiet_until.get(server, 0.0))

    def is_quiet(self, server: str, now: float) -> bool:
        return now < max(self._quiet_until.get(server, 0.0), self._quiet_until.get(ALL, 0.0))

    def any_quiet(self, now: float) -> bool:
        return any(now < until for until in self._quiet_until.values())

    # --- dice ---------------------------------------------------------------------------------

    def between(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def _gap(self, fault: Fault) -> float:
        mean = self._rates.hours[fault] * 3600.0
        return self._random.uniform(0.1 * mean, 1.9 * mean)

    def _chance(self, rate: float, fault: Fault) -> bool:
        if self._random.random() >= rate:
            return False
        self.count(fault)
        return True
