"""The judge of pace: which attempts are too early, too late or too many.

Law: it has its own arithmetic, from what went over the wire and what was stored.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mcpproxy.core.http import HttpRequest
from mcpproxy.core.model import FailureKind, FailureRun, Phase, RefreshFailure
from tests.simulation.answers import TELLS
from tests.simulation.provider import Early, Family, Fate, Login

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

EPSILON: Final = 0.05
"""An attempt begins with its intent; the store takes a moment to write it."""

MIN_INTERVAL: Final = 10.0

BACKOFF: Final = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)

WINDOWS: Final = 3

REFRESH_FRACTION: Final = 0.8

KEEP_ALIVE: Final = 7 * 86_400.0
"""A login is refreshed once a week at least, lest its provider takes it for abandoned."""

REREAD: Final = 45.0
"""A process may not know for so long, and a look, what its sibling wrote or a restart forgot."""

DOUBT: Final = 200.0
"""A refusal that was none may be believed for so long: confirmation and quiet probe included."""

REPLAY_WINDOW: Final = 30.0
"""An answer lost after a longer pause than this is asked for once more at once."""


@dataclass(slots=True)
class Pace:
    """What is known of one login's attempts, to tell whether the next one may go out."""

    began: float | None = None
    by: "Process | None" = None
    soon: bool = False
    pause: float = 0.0
    failures: int = 0
    was_unknown: bool = False
    unanswered: int = 0
    asked: bool = False
    again: bool = False
    told_not_before: float = 0.0
    not_before: float = 0.0
    doubted_at: float = float("-inf")
    logged_in_at: float = 0.0
    issued_at: float = 0.0
    sent: str = ""
    concluded: bool = True
    refused: int = 0
    is_early_known: bool = False
    after_end: int = 0
    unheard: int = 0


class Waste:
    """Collects violations as sentences; an empty list is the verdict we want."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []
        self._paces: dict[str, Pace] = {}
        self.stale_memory = REREAD + world.tick
        self._woken_at = self._awake_at = float("-inf")
        self._stepped_at = float("-inf")
        self._set_back: list[tuple[float, float]] = []

    def fail(self, server: str, sentence: str) -> None:
        """Note it, with the story of how it came to this."""
        story = "\n    ".join(self._world.story(server))
        self.violations.append(f"{self._world.now():.1f}s {server}: {sentence}\n    {story}")

    def _pace(self, server: str) -> Pace:
        return self._paces.setdefault(server, Pace())

    def exchange_began(self, process: "Process", server: str) -> None:
        """An attempt goes out: not within 10 s of the last, not before its backoff is over, not
        before the provider said. One whose process stood still between its intent and here is
        a sibling's by now: all it may do is connect in vain.
        """
        now, pace = self._world.now(), self._pace(server)
        began, by = pace.began, pace.by
        if self._world.awake() - process.paused_until < 1.0:
            pace.again = True
            return
        pace.pause = now - began if began is not None else 0.0
        pace.began, pace.by = now, process
        again, pace.again = pace.again, False
        if began is None or self._stepped_at > began - MIN_INTERVAL:
            return
        wait = MIN_INTERVAL
        slept = self._woken_at >= began - 2 * self._world.tick
        if pace.failures and not (again or pace.soon or slept):
            wait = BACKOFF[min(pace.failures, len(BACKOFF)) - 1]
        slack = EPSILON + self._skew(process, by)
        if now - began < wait - slack:
            self.fail(
                server, f"attempt {now - began:.2f}s after the last, {pace.failures} failures"
            )
        if now < pace.not_before - slack:
            self.fail(server, f"attempt {pace.not_before - now:.0f}s before Retry-After is over")

    def _skew(self, process: "Process", other: "Process | None") -> float:
        """How much the clocks of two processes may differ."""
        same = other is None or other.host is process.host
        return 0.0 if same else 2 * self._world.machines.skew

    def presented(self, process: "Process", server: str, request: HttpRequest) -> None:
        """The token leaves: written down first by who sends it, not before 80 % of the access
        token's life unless something asked for it, and not again while nobody has written down
        what became of the time before.
        """
        world, pace = self._world, self._pace(server)
        family = world.provider.family(server)
        attempt = world.durable[server].attempt
        if attempt is None or attempt.holder != process.name or attempt.phase is not Phase.SENDING:
            self.fail(server, f"{process.name} sends a token without its intent in the store")
        token = request.body.decode()
        if token == pace.sent and not pace.concluded and not family.copied:
            self.fail(server, "sends a token again, and nothing tells what came of the last time")
        pace.sent, pace.concluded = token, False
        asked, pace.asked = pace.asked, False
        if asked or pace.failures or family.issues[-1].fate is not Fate.DELIVERED or family.copied:
            return
        early = self._due(family) - world.now() - 2 * world.machines.skew
        if early > 1.0:
            self.fail(server, f"refreshed {early:.0f}s before it was due")

    def _due(self, family: Family) -> float:
        """When the newest access token is to be refreshed; 0 when it is dead already."""
        expiry, login = family.lives_until, family.login
        after = login.life if self.is_early_known(login.server) else due_after(login)
        return expiry - login.life + min(after, KEEP_ALIVE) if expiry else 0.0

    def challenged(self, server: str) -> None:
        """Its access token is dead: a refresh may come at once."""
        self._pace(server).asked = True

    def told_to_wait(self, server: str, seconds: float) -> None:
        """The provider answers with Retry-After; it counts once the answer is stored."""
        self._pace(server).told_not_before = self._world.now() + seconds

    def woke(self) -> None:
        """Failures from before a sleep or a change of network are no guide any more: whatever
        failed is tried again soon, by whoever runs on.
        """
        self._woken_at, self._awake_at = self._world.now(), self._world.awake()
        processes = [process for process in self._world.processes if process.is_ready()]
        loop = asyncio.get_running_loop()
        failing = {
            server: grant.failures
            for server, grant in self._world.durable.items()
            if grant.failures is not None
            and grant.failures.failure.retry_at is None
            and grant.refusals is None
        }
        wait = 2 * self._world.tick + 3 * MIN_INTERVAL
        loop.call_later(wait, self._tried_again, self._woken_at, processes, failing)

    def _tried_again(
        self, woken_at: float, processes: "list[Process]", failing: Mapping[str, FailureRun]
    ) -> None:
        world = self._world
        awake = [p for p in processes if p.alive and not p.stopping and not p.is_paused()]
        awake = [p for p in awake if world.awake() - p.paused_until > 2 * world.tick + 60.0]
        if not awake or woken_at != self._woken_at or not world.disk.was_well(woken_at):
            return
        for server, run in failing.items():
            grant = world.durable[server]
            if grant.failures == run and grant.attempt is None:
                self.fail(server, "the machine woke, and what had failed was not tried again")

    def clock_stepped(self, seconds: float) -> None:
        """Due times are told by the wall clock: any refresh may come early, once."""
        self._stepped_at = self._woken_at = self._world.now()
        self._set_back.append((self._stepped_at, max(0.0, -seconds)))
        for pace in self._paces.values():
            pace.asked, pace.not_before = True, 0.0

    def _failed(self, server: str, failure: RefreshFailure) -> None:
        """A failed attempt was stored. The first lost answer after something else begins the
        ladder anew: its provider's replay window is open.
        """
        pace = self._pace(server)
        if failure.kind is not FailureKind.REFUSED and self.has_doubt(server):
            # Nobody could confirm it.
            pace.doubted_at = max(pace.doubted_at, self._world.awake())
        unknown = failure.kind is FailureKind.UNKNOWN
        pace.soon = unknown and pace.pause > REPLAY_WINDOW
        if failure.status is not None and pace.told_not_before > self._world.now():
            pace.not_before = pace.told_not_before
        if failure.kind is FailureKind.REFUSED:
            pace.failures, pace.asked = 0, True
            pace.refused += self._world.now() < self._world.provider.family(server).lives_until
        elif unknown and not pace.was_unknown and pace.unanswered < WINDOWS:
            pace.failures = 1
        else:
            pace.failures += 1
        pace.was_unknown, pace.unanswered = unknown, pace.unanswered + unknown

    def logged_in(self, server: str) -> None:
        """A new login: what was known of the old one is no measure any more."""
        now = self._world.now()
        self._paces[server] = Pace(logged_in_at=now, issued_at=now)

    def restored(self) -> None:
        """The vault is an older one: nothing that came after is known to anybody."""
        for server in self._paces:
            self.logged_in(server)
            # The clock may have been set since the tokens came that are stored again.
            self._pace(server).asked, self._pace(server).issued_at = True, 0.0

    def refused_for_once(self, server: str) -> None:
        """A refusal was told that is none; by a provider that refuses early, until the access
        token is dead.
        """
        world, family = self._world, self._world.provider.family(server)
        left = family.lives_until - world.now() if family.login.early is Early.REFUSED else 0.0
        self._pace(server).doubted_at = world.awake() + max(0.0, left)

    def refreshed(self, family: Family) -> None:
        """A refresh came through. Who was refused twice before, while the access token lived, knows
        from now on that this provider refuses early.
        """
        pace = self._pace(family.server)
        pace.is_early_known |= family.login.early is Early.REFUSED and pace.refused > 1
        pace.refused = 0

    def is_early_known(self, server: str) -> bool:
        """Whether this login has shown that its provider refuses early."""
        return self._pace(server).is_early_known

    def has_doubt(self, server: str) -> bool:
        """A refusal that was none may still be believed: until its last probe came through."""
        pace = self._pace(server)
        doubt = DOUBT + (2 * BACKOFF[-1] if pace.failures else 0.0)
        return self._world.awake() - pace.doubted_at < doubt + self._world.tick


def due_after(login: Login) -> float:
    """How long after its issue an access token is to be refreshed."""
    return min(login.life * REFRESH_FRACTION if login.expiry in TELLS else KEEP_ALIVE, KEEP_ALIVE)
