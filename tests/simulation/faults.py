"""Every kind of trouble that the simulated world knows, in groups, and how often each comes.

Law: a fault is a fact about the world, never about our code; what it may do to an answer stands
in `answers`, when it comes in `dice`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

ALL: Final = "*"


class Fault(StrEnum):
    """What goes wrong."""

    # nothing of the request leaves
    REFUSED = "connection refused"
    DNS = "name not found"
    TLS = "TLS handshake fails"
    # the request may have left
    RESET_BEFORE = "reset before the provider read the request"
    SILENCE_BEFORE = "no answer within the time limit, and nothing processed"
    RESET_AFTER = "reset after the provider answered"
    SILENCE_AFTER = "no answer within the time limit, though the provider answered"
    DRIP = "the answer drips in and is not whole at the time limit"
    TRUNCATED = "answer cut off somewhere"
    OVERSIZE = "an answer of many megabytes"
    HOLLOW = "the answer lost its access token on the way"
    GATEWAY_AFTER = "502 or 504 of a gateway, after the provider processed the request"
    SLOW = "answer late, but within the time limit"
    REPEATED = "the network delivers the request twice"
    # somebody else answers
    HTTP_408 = "408"
    HTTP_429 = "429 with Retry-After in seconds"
    HTTP_429_DATE = "429 with Retry-After as a date"
    HTTP_500 = "500 before processing"
    HTTP_502 = "502 before processing"
    HTTP_503 = "503 before processing"
    HTTP_503_DATE = "503 with Retry-After as a date"
    HTTP_504 = "504 before processing"
    HTTP_530 = "530 of a content network"
    PORTAL = "200 with a web page"
    REDIRECT = "302 to a login page"
    WAF_401 = "401 with a web page of a firewall"
    WAF_403 = "403 with a web page of a firewall"
    NOT_FOUND = "404, as while a new version is rolled out"
    BAD_JSON = "200 with broken JSON of somebody else"
    EMPTY = "200 with nothing in it"
    # the provider's word, and not for long
    PASSING_ERROR = "an OAuth error that is about nothing lasting"
    ONE_OFF_REFUSAL = "a refusal from a replica that lags"
    # our processes
    CRASH = "kill -9 at an I/O boundary"
    PAUSED = "a process stands still for longer than its lease"
    TERMINATED = "SIGTERM"
    CALLER_GONE = "a caller is cancelled while it waits"
    # the store
    STALE_READ = "the store answers with an older state"
    STORE_BUSY = "the store is kept busy by another"
    STORE_FULL = "the store takes no writes for a while"
    STORE_READ_ONLY = "the store is read-only for a while"
    KEY_LOCKED = "the key of the store is locked for a while"
    WRITE_UNSURE = "a write is told to have failed, and is durable"
    LEASE_LOST = "a lease is broken while its holder is at work"
    BACKUP_RESTORED = "the vault is put back to an older state"
    # the machine and the world
    OUTAGE = "the provider is down for a while"
    SUSPEND = "the machine sleeps"
    CLOCK_STEP = "the wall clock is set"
    NETWORK_CHANGE = "routes or addresses change"
    TOKEN_REVOKED = "an access token dies before its time"
    ENDPOINT_MOVED = "the token endpoint moves to another address"
    ISSUER_RENAMED = "for a while the issuer calls itself by another name"
    CLIENT_ENDED = "the provider forgets our client"
    LOGIN_ENDED = "the provider ends a login"


NOT_SENT: Final = frozenset({Fault.REFUSED, Fault.DNS, Fault.TLS})

LOSES_THE_ANSWER: Final = frozenset(
    {
        Fault.RESET_AFTER,
        Fault.SILENCE_AFTER,
        Fault.DRIP,
        Fault.TRUNCATED,
        Fault.OVERSIZE,
        Fault.HOLLOW,
        Fault.GATEWAY_AFTER,
    }
)

WIRE_FAULTS: Final = tuple(Fault)[: tuple(Fault).index(Fault.CRASH)]
"""Those that can meet one exchange."""

HOURS: Final[Mapping[Fault, float]] = {
    Fault.TERMINATED: 2.0,
    Fault.OUTAGE: 8.0,
    Fault.SUSPEND: 6.0,
    Fault.CLOCK_STEP: 6.0,
    Fault.NETWORK_CHANGE: 3.0,
    Fault.TOKEN_REVOKED: 0.5,
    Fault.LEASE_LOST: 1.0,
    Fault.KEY_LOCKED: 12.0,
    Fault.BACKUP_RESTORED: 12.0,
    Fault.LOGIN_ENDED: 6.0,
    Fault.CLIENT_ENDED: 8.0,
    Fault.ENDPOINT_MOVED: 12.0,
    Fault.ISSUER_RENAMED: 12.0,
}
"""How many hours lie between two of these, on average."""


STORE_FAULTS: Final = (
    Fault.STORE_BUSY,
    Fault.STORE_BUSY,
    Fault.WRITE_UNSURE,
    Fault.STORE_FULL,
    Fault.STORE_READ_ONLY,
)
"""Those that can meet one write; a busy store is the most common."""


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Chances. `wire` is for one exchange; `crash`, `paused`, `stale` and `store` are for one
    boundary; `caller_gone` for one call; `hours` between two troubles of the whole world.
    """

    wire: float = 0.06
    wire_faults: tuple[Fault, ...] = WIRE_FAULTS
    crash: float = 0.002
    paused: float = 0.0005
    stale: float = 0.01
    store: float = 0.001
    store_faults: tuple[Fault, ...] = STORE_FAULTS
    caller_gone: float = 0.2
    hours: Mapping[Fault, float] = field(default_factory=lambda: HOURS)


NO_FAULTS: Final = FaultRates(wire=0, crash=0, paused=0, stale=0, store=0, caller_gone=0, hours={})
