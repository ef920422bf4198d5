"""When a fault comes: drawn from the seed, at every boundary between our code and the world.

Law: after an answer was lost the world leaves that login alone for `QUIET` seconds: a second
misfortune inside the provider's replay window is nobody's to survive.
"""

from random import Random
from typing import Final, TypeVar

from tests.simulation.faults import ALL, NO_FAULTS, Fault, FaultRates

QUIET: Final = 75.0
"""Longer than the longest replay window, in seconds."""

_T = TypeVar("_T")


class FaultSource:
    """Draws faults and counts them."""

    def __init__(self, random: Random, rates: FaultRates) -> None:
        self._random = random
        self._rates = rates
        self.ceased = False
        self._quiet_until: dict[str, float] = {}
        self.counts: dict[Fault, int] = dict.fromkeys(Fault, 0)
        self._next_at = {fault: self._gap(fault) for fault in rates.hours}

    def cease(self) -> None:
        """From now on the world is kind."""
        self.ceased, self._rates = True, NO_FAULTS
        self._next_at.clear()

    # --- where and when -----------------------------------------------------------------------

    def wire(self, server: str, now: float) -> Fault | None:
        if self.is_quiet(server, now) or self._random.random() >= self._rates.wire:
            return None
        return self._random.choice(self._rates.wire_faults)

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

    def store(self, now: float) -> Fault | None:
        """What the store does to one write; a short trouble may meet it at any time."""
        if self._random.random() >= self._rates.store:
            return None
        fault = self._random.choice(self._rates.store_faults)
        lasts = fault in (Fault.STORE_FULL, Fault.STORE_READ_ONLY)
        return None if lasts and self.any_quiet(now) else self.count(fault)

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

    def one_of(self, things: "tuple[_T, ...]") -> _T:
        return self._random.choice(things)

    def _gap(self, fault: Fault) -> float:
        mean = self._rates.hours[fault] * 3600.0
        return self._random.uniform(0.1 * mean, 1.9 * mean)

    def _chance(self, rate: float, fault: Fault) -> bool:
        if self._random.random() >= rate:
            return False
        self.count(fault)
        return True
