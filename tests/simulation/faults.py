"""What goes wrong, when: drawn from the seed, at every boundary between our code and the world."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """Every kind of trouble this world knows."""

    REFUSED = "connection refused"
    RESET_BEFORE = "reset before the provider read the request"
    RESET_AFTER = "reset after the provider answered"
    SILENCE_AFTER = "no answer within the time limit, though the provider answered"
    TRUNCATED = "answer cut off in the middle"
    SLOW = "answer late, but within the time limit"
    HTTP_503 = "503 before processing"
    HTTP_429 = "429 with Retry-After"
    PORTAL = "200 with a web page"
    BAD_JSON = "200 with broken JSON of somebody else"
    ONE_OFF_REFUSAL = "invalid_grant from a replica that lags"
    CRASH = "kill -9 at an I/O boundary"
    STALE_READ = "the store answers with an older state"
    STORE_FULL = "the store takes no writes for a while"
    CALLER_GONE = "a caller is cancelled while it waits"


WIRE_FAULTS = (
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

LOSES_THE_ANSWER = frozenset({Fault.RESET_AFTER, Fault.SILENCE_AFTER, Fault.TRUNCATED})


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Chances. `wire` is for one exchange; `crash`, `stale` and `full` for one boundary."""

    wire: float = 0.06
    crash: float = 0.004
    stale: float = 0.01
    full: float = 0.0005
    caller_gone: float = 0.2
    one_off_refusal: bool = True


class FaultSource:
    """Draws faults and counts them. After an answer was lost the world leaves that login alone
    for `QUIET` seconds: a second misfortune inside the provider's replay window is nobody's to
    survive.
    """

    QUIET = 75.0

    def __init__(self, random: Random, rates: FaultRates) -> None:
        self._random = random
        self._rates = rates
        self._quiet_until: dict[str, float] = {}
        self.counts: dict[Fault, int] = dict.fromkeys(Fault, 0)

    def wire(self, server: str, now: float) -> Fault | None:
        if self.is_quiet(server, now) or self._random.random() >= self._rates.wire:
            return None
        fault = self._random.choice(WIRE_FAULTS)
        if fault is Fault.ONE_OFF_REFUSAL and not self._rates.one_off_refusal:
            return None
        return self._count(fault)

    def crash(self, server: str, now: float) -> bool:
        if self.is_quiet(server, now) or self._random.random() >= self._rates.crash:
            return False
        self._count(Fault.CRASH)
        return True

    def stale(self) -> bool:
        return self._chance(self._rates.stale, Fault.STALE_READ)

    def full(self) -> bool:
        return self._chance(self._rates.full, Fault.STORE_FULL)

    def caller_gone(self) -> bool:
        return self._chance(self._rates.caller_gone, Fault.CALLER_GONE)

    def be_quiet(self, server: str, now: float) -> None:
        self._quiet_until[server] = now + self.QUIET

    def is_quiet(self, server: str, now: float) -> bool:
        return now < max(self._quiet_until.get(server, 0.0), self._quiet_until.get("*", 0.0))

    def between(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def _chance(self, rate: float, fault: Fault) -> bool:
        if self._random.random() >= rate:
            return False
        self._count(fault)
        return True

    def _count(self, fault: Fault) -> Fault:
        self.counts[fault] += 1
        return fault
