"""Calls that their callers gave up while the server may still be at work on them.

Law: what a server asks or says may be of such a call as well as of one in flight, until it answers
that call late. Many servers never do: they are believed to be done after a while.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

# Whoever has given up more calls than this is remembered until the time is over.
_MAX_CALLS: Final = 64
# As a question is nobody's as soon as two may be meant, it is no matter which of more are known.
_MAX_ORIGINS: Final = 64
_UNCOUNTED: Final = -1


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose a call is, and whether a client made it that could be asked."""

    caller: str
    has_client: bool


@dataclass(slots=True)
class _Work:
    """Requests that one origin gave up, and the time of the loop when they count no more."""

    requests: set[int]
    until: float


class LeftBehind:
    """Of one session, by origin, in the order in which they will be forgotten."""

    def __init__(self, kept_for: timedelta) -> None:
        self._kept_for = kept_for
        self._work: dict[Origin, _Work] = {}

    def add(self, origin: Origin, request_id: int) -> None:
        work = self._work.pop(origin, None)
        requests = set() if work is None else work.requests
        requests.add(request_id if len(requests) < _MAX_CALLS else _UNCOUNTED)
        if len(self._work) >= _MAX_ORIGINS:
            del self._work[next(iter(self._work))]
        self._work[origin] = _Work(requests, _now() + self._kept_for.total_seconds())

    def answered(self, request_id: int) -> None:
        """The server is done with this one after all."""
        for origin, work in list(self._work.items()):
            work.requests.discard(request_id)
            if not work.requests:
                del self._work[origin]

    def origins(self) -> frozenset[Origin]:
        """Of which a call may still be under way."""
        now = _now()
        for origin in [each for each, work in self._work.items() if work.until <= now]:
            del self._work[origin]
        return frozenset(self._work)


def _now() -> float:
    return asyncio.get_running_loop().time()
