"""The judge: what must never be seen, whatever the seed.

Law: it has its own arithmetic; the product's word is taken only where it is what is judged.
"""

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mcpproxy.core.errors import LoginRequired, TokenUnavailable
from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import FailureKind, Grant, Phase, RefreshFailure, Secret, Verdict
from mcpproxy.core.notices import LoginLost, RefreshSucceeded
from tests.simulation.provider import Expiry, Family, Fate

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

EPSILON: Final = 0.05
"""An attempt begins with its intent; the store takes a moment to write it."""
MIN_INTERVAL: Final = 10.0
BACKOFF: Final = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
WINDOWS: Final = 3
REFRESH_FRACTION: Final = 0.8

STALE_MEMORY: Final = 75.0
"""A process may not know for so long what its sibling wrote, or what a restart forgot."""

DOUBT: Final = 200.0
"""A refusal that was none may be believed for so long: confirmation and quiet probe included."""

NOTICES_WAKE: Final = 60.0
"""Two processes notice the same wake one after the other, each a tick late at most."""

MAX_LATE: Final = 60.0
MAX_PRESENTATIONS_AFTER_END: Final = 8
"""The refusal, its confirmation, the quiet probe; again each whose answer was lost."""

NOTICED_WITHIN: Final = 9 * 3600.0
"""After the access token is dead, the longest outage and a clock set back included."""


@dataclass(slots=True)
class _Pace:
    """What is known of one login's attempts, to tell whether the next one may go out."""

    began: float | None = None
    failures: int = 0
    was_unknown: bool = False
    unanswered: int = 0
    asked: bool = False
    told_not_before: float = 0.0
    not_before: float = 0.0
    doubted_at: float = float("-inf")
    logged_in_at: float = 0.0
    issued_at: float = 0.0


class Checks:
    """Collects violations as sentences; an empty list is the verdict we want."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []
        self._paces: dict[str, _Pace] = {}
        self._woken_at = float("-inf")
        self._stepped_at = float("-inf")

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
        began = pace.began
        if self._world.awake() - process.paused_until < 1.0:
            return
        pace.began = now
        if began is None or self._stepped_at > began - MIN_INTERVAL:
            return
        wait = MIN_INTERVAL
        if pace.failures and self._woken_at < began - NOTICES_WAKE:
            wait = BACKOFF[min(pace.failures, len(BACKOFF)) - 1]
        if now - began < wait - EPSILON:
            self.fail(
                server, f"attempt {now - began:.2f}s after the last, {pace.failures} failures"
            )
        if now < pace.not_before - EPSILON:
            self.fail(server, f"attempt {pace.not_before - now:.0f}s before Retry-After is over")

    def presented(self, process: "Process", server: str) -> None:
        """The token leaves: written down first by who sends it, and not before 80 % of the access
        token's life, unless something asked for it.
        """
        family, pace = self._world.provider.family(server), self._pace(server)
        attempt = self._world.durable[server].attempt
        if attempt is None or attempt.holder != process.name or attempt.phase is not Phase.SENDING:
            self.fail(server, f"{process.name} sends a token without its intent in the store")
        asked, pace.asked = pace.asked, False
        if asked or pace.failures or family.issues[-1].fate is not Fate.DELIVERED:
            return
        life = family.login.life
        expiry = max(family.access.values(), default=0.0)
        early = expiry - self._world.now() - life * (1 - REFRESH_FRACTION)
        if early > 1.0:
            self.fail(server, f"refreshed {early:.0f}s before it was due")

    def challenged(self, server: str) -> None:
        """Its access token is dead: a refresh may come at once."""
        self._pace(server).asked = True

    def told_to_wait(self, server: str, seconds: float) -> None:
        """The provider answers with Retry-After; it counts once the answer is stored."""
        self._pace(server).told_not_before = self._world.now() + seconds

    def woke(self) -> None:
        """Failures from before a sleep or a change of network are no guide any more."""
        self._woken_at = self._world.now()

    def clock_stepped(self) -> None:
        """Due times are told by the wall clock: any refresh may come early, once."""
        self._stepped_at = self._woken_at = self._world.now()
        for pace in self._paces.values():
            pace.asked, pace.not_before = True, 0.0

    def _failed(self, server: str, failure: RefreshFailure) -> None:
        """A failed attempt was stored. The first lost answer after something else begins the
        ladder anew: its provider's replay window is open.
        """
        pace = self._pace(server)
        unknown = failure.kind is FailureKind.UNKNOWN
        if failure.status == HTTPStatus.TOO_MANY_REQUESTS:
            pace.not_before = pace.told_not_before
        if failure.kind is FailureKind.REFUSED:
            pace.failures, pace.asked = 0, True
        elif unknown and not pace.was_unknown and pace.unanswered < WINDOWS:
            pace.failures = 1
        else:
            pace.failures += 1
        pace.was_unknown, pace.unanswered = unknown, pace.unanswered + unknown

    def succeeded(self, notice: RefreshSucceeded) -> None:
        """Told only after it was stored."""
        stored = self._world.durable[notice.server]
        if stored.generation < notice.generation:
            self.fail(notice.server, "told of a success that is not stored")

    def logged_in(self, server: str) -> None:
        """A new login: what was known of the old one is no measure any more."""
        now = self._world.now()
        self._paces[server] = _Pace(logged_in_at=now, issued_at=now)

    # --- safety ---------------------------------------------------------------------------------

    def saved(self, before: Grant, after: Grant) -> None:
        """What is durable never forgets."""
        if after.generation < before.generation:
            self.fail(after.server, "generation went back")
        if after.tokens.refresh_token is None:
            self.fail(after.server, "stored without its refresh token")
        refused, failed = after.refusals, after.failures
        if refused is not None and refused != before.refusals:
            self._failed(after.server, refused.failure)
        elif failed is not None and failed != before.failures:
            self._failed(after.server, failed.failure)
        elif after.generation > before.generation:
            pace = self._pace(after.server)
            pace.failures, pace.unanswered, pace.was_unknown = 0, 0, False
            # Issued before the clock was set and stored after it, it may be due at once.
            pace.issued_at = pace.began or 0.0
            pace.asked = self._stepped_at > pace.issued_at

    def processed(self, server: str) -> None:
        """The provider processed a request."""
        family = self._world.provider.family(server)
        if family.lost_by_us:
            self.fail(server, f"lost by us ({family.login.rotation}: {family.ended})")
        if family.presented_after_end > MAX_PRESENTATIONS_AFTER_END:
            self.fail(server, "goes on presenting a token of a login that is over")

    def handed_out(self, server: str, token: Secret) -> None:
        """A token that a caller gets is one that a crash now could not lose."""
        if token not in self._world.stored_tokens[server]:
            self.fail(server, "used a token that is not stored")

    def told_unavailable(self, process: "Process", server: str, error: TokenUnavailable) -> None:
        """A caller was told that there is no token: is that so?"""
        world = self._world
        news = world.now() - world.saved_at[server] < STALE_MEMORY
        thawed = world.awake() - process.paused_until < STALE_MEMORY
        known = not (news or thawed or process.stopping)
        if known and self._has_a_living_token(server) and world.durable[server].rejected is None:
            self.fail(server, f"no token for a caller though one works: {error}")
        if isinstance(error, LoginRequired):
            self._judge_lost_word(server)

    def told_lost(self, notice: LoginLost) -> None:
        """Custody says that a login is over."""
        world, server = self._world, notice.server
        family, grant = world.provider.family(server), world.durable[server]
        self._judge_lost_word(server)
        if family.lost_in_transit and notice.reason == Verdict.PROVIDER_ENDED:
            self.fail(server, "blames the provider for an answer that was lost on the way")
        by_provider = family.ended is not None and not family.lost_in_transit
        if by_provider and not grant.unanswered and notice.reason != Verdict.PROVIDER_ENDED:
            self.fail(server, f"{notice.reason}, though the provider ended it")

    def refused_for_once(self, server: str) -> None:
        """A refusal was injected that is none."""
        self._pace(server).doubted_at = self._world.awake()

    def _has_a_living_token(self, server: str) -> bool:
        """The stored access token works, and our clock has no reason to say otherwise."""
        world, pace = self._world, self._pace(server)
        token = world.durable[server].tokens.access_token
        return self._stepped_at < pace.issued_at and world.works(server, token)

    def _judge_lost_word(self, server: str) -> None:
        """`Sign in` may be said of a living login only for a moment: after a refusal that was
        none, with the access token dead; or by a process that has not heard of the new login.
        """
        world, pace = self._world, self._pace(server)
        if world.provider.family(server).ended is not None:
            return
        in_doubt = world.awake() - pace.doubted_at < DOUBT
        is_news = world.now() - max(pace.logged_in_at, self._stepped_at) < STALE_MEMORY
        if not is_news and not (in_doubt and not self._has_a_living_token(server)):
            self.fail(server, "asks for a login though the provider has it")

    # --- verdicts -------------------------------------------------------------------------------

    def is_noticed(self, family: Family) -> bool:
        """Whether the store says that this ended login has ended; it may take a while."""
        world = self._world
        if ending(world.durable[family.server], world.clock.now()) is not None:
            return True
        late = world.now() - max(family.ended_at, self._woken_at) - family.login.life
        if late > NOTICED_WITHIN and family.login.expiry is not Expiry.MISSING:
            self.fail(family.server, "nobody noticed that the provider ended it")
        return False

    async def judge(self) -> None:
        """Every login against the provider's own record, after the trouble is over."""
        world = self._world
        for family in world.provider.families():
            grant = await world.vault.load_grant(family.server)
            if grant is None:
                self.fail(family.server, "the grant was deleted")
            elif grant != world.durable[family.server]:
                self.fail(family.server, "the store forgot what it had stored")
            elif family.ended is None:
                self._judge_living(grant)

    def _judge_living(self, grant: Grant) -> None:
        """It is not given up, works again, and nothing of it was forgotten."""
        world = self._world
        now, tokens = world.clock.now(), grant.tokens
        ended = ending(grant, now)
        if ended is not None:
            self.fail(grant.server, f"asks for a login ({ended}) though the provider has it")
        if tokens.refresh_token is None or not world.provider.accepts(
            tokens.refresh_token.reveal()
        ):
            self.fail(grant.server, "holds a refresh token that is not the live one")
        late = timedelta(0)
        if tokens.expires_at is not None:
            life = tokens.expires_at - tokens.issued_at
            late = now - tokens.issued_at - life * REFRESH_FRACTION
        if grant.failures or late.total_seconds() > MAX_LATE:
            self.fail(grant.server, "not refreshed though nothing is in the way")
