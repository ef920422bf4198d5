"""Finds out that the way to a provider is open again where no route changed: a sign-in page that
was accepted, a name server that is back, a provider that runs again.

Law: asks only while something fails for want of a way, one question per issuer at a time, at most
every 5 s and ever more rarely; and tells only of a way that was closed and is open now.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from mcpproxy.core.model import FailureKind, Grant, RefreshFailure
from mcpproxy.core.notices import Notice, Woke
from mcpproxy.core.ports import Clock

TICK_S: Final = 1.0

FIRST_PAUSE: Final = timedelta(seconds=5)
LAST_PAUSE: Final = timedelta(seconds=60)
SHARE: Final = 0.2
"""Of the time that the way has been closed: an outage lasts a fifth longer at most, and a minute
at most, by our looking; and a provider that is down is asked once a minute."""

JITTER: Final = 0.2
"""Of a pause, added at random: those who wait for one provider do not come together."""

MAX_AT_ONCE: Final = 16
"""Issuers that are asked at the same time; the rest waits for the next look."""

Probe = Callable[[Grant], Awaitable[bool]]
"""Whether the way to this grant's provider is open; carries no secret and spends nothing."""

_log = structlog.get_logger("mcpproxy.network")


@dataclass(slots=True)
class _Way:
    """What is known of the way to one issuer, in elapsed time. Found closed by what failed."""

    since: timedelta
    next_at: timedelta
    is_closed: bool = True
    asking: asyncio.Task[None] | None = None


class ReachWatch:
    """`run` it; `back` is told the issuer whose way is open again. `chance` draws from 0 to 1."""

    def __init__(
        self,
        grants: Callable[[], Iterable[Grant]],
        probe: Probe,
        clock: Clock,
        back: Callable[[str], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._grants = grants
        self._probe = probe
        self._clock = clock
        self._back = back
        self._chance = chance
        self._ways: dict[str, _Way] = {}

    async def run(self) -> None:
        """For ever; ends by cancellation."""
        try:
            while True:
                await asyncio.sleep(TICK_S)
                self._look()
        finally:
            for way in self._ways.values():
                if way.asking is not None:
                    way.asking.cancel()

    def hear(self, notice: Notice) -> None:
        """After a sleep or on another network everything may be different soon."""
        if isinstance(notice, Woke):
            now = self._clock.elapsed()
            for way in self._ways.values():
                way.since = now
                way.next_at = min(way.next_at, now + self._pause(way, now))

    def _look(self) -> None:
        now = self._clock.elapsed()
        lost = lost_ways(self._grants())
        for issuer in self._ways.keys() - lost.keys():
            if self._ways[issuer].asking is None:
                del self._ways[issuer]
        for issuer in lost.keys() - self._ways.keys():
            way = self._ways[issuer] = _Way(now, now)
            way.next_at += self._pause(way, now)
        for issuer in self._due(now):
            way = self._ways[issuer]
            way.asking = asyncio.create_task(self._ask(way, lost[issuer]), name=f"reach:{issuer}")

    def _due(self, now: timedelta) -> list[str]:
        """Whose turn it is, the longest overdue first, as far as there is room."""
        idle = [(way.next_at, issuer) for issuer, way in self._ways.items() if way.asking is None]
        room = MAX_AT_ONCE - (len(self._ways) - len(idle))
        return [issuer for at, issuer in sorted(idle) if at <= now][: max(0, room)]

    async def _ask(self, way: _Way, grant: Grant) -> None:
        try:
            is_open = await self._probe(grant)
            if is_open and way.is_closed:
                self._back(grant.issuer)
            way.is_closed = not is_open
        except Exception as error:  # a bug here must not be asked about every second
            _log.error("the way to a provider could not be looked at", exc_info=error)
        finally:
            way.asking = None
            now = self._clock.elapsed()
            way.next_at = now + self._pause(way, now)

    def _pause(self, way: _Way, now: timedelta) -> timedelta:
        pause = min(max((now - way.since) * SHARE, FIRST_PAUSE), LAST_PAUSE)
        return pause * (1 + JITTER * self._chance())


def lost_ways(grants: Iterable[Grant]) -> dict[str, Grant]:
    """Of each issuer that cannot be reached, the grant whose failure is the latest."""
    found: dict[str, tuple[datetime, Grant]] = {}
    for grant in grants:
        run = grant.failures
        if run is None or grant.refusals is not None or not is_for_want_of_a_way(run.failure):
            continue
        known = found.get(grant.issuer)
        if known is None or known[0] < run.begun_at:
            found[grant.issuer] = (run.begun_at, grant)
    return {issuer: grant for issuer, (_, grant) in sorted(found.items())}


def is_for_want_of_a_way(failure: RefreshFailure) -> bool:
    """Whether the provider was not reached, as far as this failure tells."""
    return failure.kind is FailureKind.NOT_SENT or failure.suspect is not None
