"""The judge of safety, waste and liveness: what must never be seen, whatever the seed.

Law: it has its own arithmetic; the product's word is taken only where it is what is judged.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mcpproxy.core.errors import LoginRequired, TokenUnavailable
from mcpproxy.core.http import HttpRequest
from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import FailureKind, FailureRun, Grant, Phase, RefreshFailure, Secret
from tests.simulation.answers import TELLS
from tests.simulation.provider import Family, Fate, Login, Processed

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

MAX_REFUSALS: Final = 3
"""The refusal, its confirmation, the quiet probe."""

HOUR: Final = 3600.0
LONGEST_ANSWER: Final = 25.0
"""No answer travels longer, connecting included."""

NOTICED_WITHIN: Final = 9 * 3600.0
"""After the access token is dead, the longest outage and a clock set back included."""


@dataclass(slots=True)
class _Pace:
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
    after_end: int = 0
    unheard: int = 0


class Checks:
    """Collects violations as sentences; an empty list is the verdict we want."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []
        self._paces: dict[str, _Pace] = {}
        self.stale_memory = REREAD + world.tick
        self._woken_at = self._awake_at = float("-inf")
        self._stepped_at = float("-inf")
        self._set_back: list[tuple[float, float]] = []

    def fail(self, server: str, sentence: str) -> None:
        """Note it, with the story of how it came to this."""
        story = "\n    ".join(self._world.story(server))
        self.violations.append(f"{self._world.now():.1f}s {server}: {sentence}\n    {story}")

    def _pace(self, server: str) -> _Pace:
        return self._paces.setdefault(server, _Pace())

    # --- waste ----------------------------------------------------------------------------------

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
        if (
            pace.failures
            and not (again or pace.soon)
            and self._woken_at < began - 2 * self._world.tick
        ):
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
        expiry = max(family.access.values(), default=0.0)
        return expiry - family.login.life + _due_after(family.login) if expiry else 0.0

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
            if grant.failures is not None and grant.failures.failure.retry_at is None
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
        unknown = failure.kind is FailureKind.UNKNOWN
        pace.soon = unknown and pace.pause > REPLAY_WINDOW
        if failure.status is not None and pace.told_not_before > self._world.now():
            pace.not_before = pace.told_not_before
        if failure.kind is FailureKind.REFUSED:
            pace.failures, pace.asked = 0, True
        elif unknown and not pace.was_unknown and pace.unanswered < WINDOWS:
            pace.failures = 1
        else:
            pace.failures += 1
        pace.was_unknown, pace.unanswered = unknown, pace.unanswered + unknown

    def logged_in(self, server: str) -> None:
        """A new login: what was known of the old one is no measure any more."""
        now = self._world.now()
        self._paces[server] = _Pace(logged_in_at=now, issued_at=now)

    def restored(self) -> None:
        """The vault is an older one: nothing that came after is known to anybody."""
        for server in self._paces:
            self.logged_in(server)
            self._pace(server).asked = True

    # --- safety ---------------------------------------------------------------------------------

    def saved(self, before: Grant, after: Grant) -> None:
        """What is durable never forgets."""
        pace = self._pace(after.server)
        if after.generation < before.generation:
            self.fail(after.server, "generation went back")
        family = self._world.provider.family(after.server)
        kept = family.ended is None and family.client_id == before.client.client_id
        if after.client != before.client and kept:
            self.fail(after.server, "gives up a client that the provider knows")
        if after.tokens.refresh_token is None:
            self.fail(after.server, "stored without its refresh token")
        refused, failed = after.refusals, after.failures
        is_refusal = refused is not None and refused != before.refusals
        if before.attempt is not None and after.attempt is None:
            pace.concluded = True
            pace.unheard += not is_refusal
        if is_refusal and refused is not None:
            self._failed(after.server, refused.failure)
        elif failed is not None and failed != before.failures:
            self._failed(after.server, failed.failure)
        elif after.variant != before.variant:
            pace.asked = pace.again = True
        elif failed is None and before.failures is not None and refused is None:
            pace.failures, pace.asked = 0, True  # a new address, or tokens
        if after.generation > before.generation:
            self._judge_expiry(after)
            pace.failures, pace.unanswered, pace.was_unknown = 0, 0, False
            # Issued before the clock was set and stored after it, it may be due at once.
            pace.issued_at = pace.began or 0.0
            pace.asked = self._stepped_at > pace.issued_at

    def _judge_expiry(self, after: Grant) -> None:
        """An access token lives from when it was received, not from when somebody read it."""
        world, tokens = self._world, after.tokens
        family = world.provider.family(after.server)
        expiry = family.access.get(tokens.access_token.reveal())
        if expiry is None or tokens.expires_at is None or self._stepped_at > world.now() - HOUR:
            return
        believed = (tokens.expires_at - world.clock.now()).total_seconds()
        late = believed - (expiry - world.now()) - world.machines.skew
        if late > LONGEST_ANSWER:
            self.fail(after.server, f"believes in its token for {late:.0f}s longer than it lives")

    def processed(self, server: str, done: Processed) -> None:
        """The provider processed a request."""
        family, pace = self._world.provider.family(server), self._pace(server)
        if family.lost_by_us:
            self.fail(server, f"lost by us ({family.login.rotation}: {family.ended})")
        if family.wrong_form is not None:
            self.fail(server, f"asks in a form that is not the login's: {family.wrong_form}")
        if done.is_passing:
            self.refused_for_once(server)
        if family.ended is None:
            pace.after_end = pace.unheard = 0
            return
        pace.after_end += 1
        if pace.after_end - pace.unheard > MAX_REFUSALS + 1:
            self.fail(server, "goes on presenting a token of a login that is over")

    def handed_out(self, server: str, token: Secret) -> None:
        """A token that a caller gets is one that a crash now could not lose."""
        if token not in self._world.stored_tokens[server]:
            self.fail(server, "used a token that is not stored")

    def told_nothing(self, process: "Process", server: str) -> None:
        """A caller was told that there is no login."""
        if not self.has_thawed(process) and not self.is_news(server):
            self.fail(server, f"{process.name} knows of no login")

    def told_unavailable(self, process: "Process", server: str, error: TokenUnavailable) -> None:
        """A caller was told that there is no token: is that so?"""
        world = self._world
        known = not (self.is_news(server) or self.has_thawed(process) or process.stopping)
        if known and self._has_a_living_token(server) and world.durable[server].rejected is None:
            self.fail(server, f"no token for a caller though one works: {error}")
        if isinstance(error, LoginRequired):
            self.judge_lost_word(process, server)

    def is_news(self, server: str) -> bool:
        """What is stored is so new that a process may not have read it, or was locked away."""
        world = self._world
        since = max(world.saved_at[server], self._pace(server).logged_in_at, world.disk.well_since)
        return world.now() - since < self.stale_memory

    def has_thawed(self, process: "Process") -> bool:
        """It stood still or slept a moment ago, or has just begun."""
        world = self._world
        thawed = world.awake() - max(process.paused_until, self._awake_at) < self.stale_memory
        return thawed or world.now() - process.began < self.stale_memory

    def refused_for_once(self, server: str) -> None:
        """A refusal was told that is none."""
        self._pace(server).doubted_at = self._world.awake()

    def has_doubt(self, server: str) -> bool:
        """A refusal that was none may still be believed: until its last probe came through."""
        pace = self._pace(server)
        doubt = DOUBT + (2 * BACKOFF[-1] if pace.failures else 0.0)
        return self._world.awake() - pace.doubted_at < doubt + self._world.tick

    def _has_a_living_token(self, server: str) -> bool:
        """The stored access token works, and our clock has no reason to say otherwise."""
        world, pace = self._world, self._pace(server)
        token = world.durable[server].tokens.access_token
        return self._stepped_at < pace.issued_at and world.works(server, token)

    def judge_lost_word(self, process: "Process", server: str) -> None:
        """`Sign in` may be said of a living login only for a moment: after a refusal that was
        none, confirmed or with the access token dead; or by a process that has not heard of the
        new login.
        """
        world = self._world
        family, refusals = world.provider.family(server), world.durable[server].refusals
        if self.is_over(family) or family.copied or self.has_thawed(process):
            return
        confirmed = refusals is not None and refusals.count > 1
        believed = confirmed or not self._has_a_living_token(server)
        is_news = self.is_news(server) or world.now() - self._stepped_at < self.stale_memory
        if not is_news and not (self.has_doubt(server) and believed):
            self.fail(server, f"{process.name} asks for a login though the provider has it")

    def was_set(self, login_id: str) -> bool:
        """Whether the clock was set since this login was made."""
        return self._stepped_at >= float(login_id.rsplit("-", 1)[1])

    def is_over(self, family: Family) -> bool:
        """Only a person can go on: the provider ended the login, or forgot the client that we
        still have.
        """
        known = self._world.durable[family.server].client.client_id
        return family.ended is not None or family.client_id != known

    # --- verdicts -------------------------------------------------------------------------------

    def is_noticed(self, family: Family) -> bool:
        """Whether the store says that this ended login has ended; it may take a while."""
        world, login = self._world, family.login
        if ending(world.durable[family.server], world.clock.now()) is not None:
            return True
        since = max(family.ended_at, self._woken_at)
        back = self._set_back_since(family.ended_at - login.life)
        late = world.now() - since - back - min(login.life, KEEP_ALIVE)
        if late > NOTICED_WITHIN + world.trouble.longest_outage and login.expiry in TELLS:
            self.fail(family.server, "nobody noticed that the provider ended it")
        return False

    def _set_back_since(self, moment: float) -> float:
        """How much later what was planned then may come. A clock that was set back to before a
        token's issue is noticed, so a step counts for no more than the token's age.
        """
        return sum(min(by, at - moment) for at, by in self._set_back if at >= moment)

    async def judge(self) -> None:
        """Every login against the provider's own record, after the trouble is over."""
        world = self._world
        for family in world.provider.families():
            grant = await world.vault.load_grant(family.server)
            if grant is None:
                self.fail(family.server, "the grant was deleted")
            elif grant != world.durable[family.server]:
                self.fail(family.server, "the store forgot what it had stored")
            elif not self.is_over(family) and not family.copied:
                self._judge_living(family, grant)

    def _judge_living(self, family: Family, grant: Grant) -> None:
        """It is not given up, works again, and nothing of it was forgotten."""
        world = self._world
        ended = ending(grant, world.clock.now())
        if ended is not None:
            self.fail(grant.server, f"asks for a login ({ended}) though the provider has it")
        if grant.tokens.refresh_token is None or not world.provider.accepts(
            grant.tokens.refresh_token.reveal()
        ):
            self.fail(grant.server, "holds a refresh token that is not the live one")
        due = self._due(family)
        late = world.now() - due - self._set_back_since(due - _due_after(family.login))
        if grant.failures or (due and late > world.tick + MIN_INTERVAL * 3):
            self.fail(grant.server, "not refreshed though nothing is in the way")


def _due_after(login: Login) -> float:
    """How long after its issue an access token is to be refreshed."""
    return min(login.life * REFRESH_FRACTION if login.expiry in TELLS else KEEP_ALIVE, KEEP_ALIVE)
