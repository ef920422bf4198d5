"""The judge: what must never be seen, whatever the seed."""

from datetime import timedelta
from typing import TYPE_CHECKING

from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import FailureKind, Grant, Secret
from mcpproxy.core.notices import RefreshFailedNotice, RefreshSucceeded
from mcpproxy.core.policy import calculate_backoff, refresh_at

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

EPSILON = 0.001

MAX_LATE = timedelta(seconds=60)


class Checks:
    """Collects violations as sentences; an empty list is the verdict we want."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []
        self._began: dict[str, float] = {}
        self._run: dict[str, int] = {}
        self._asked: dict[str, bool] = {}
        self._unanswered: set[str] = set()

    def fail(self, server: str, sentence: str) -> None:
        """Note it, with the story of how it came to this."""
        story = "\n    ".join(self._world.story(server))
        self.violations.append(f"{self._world.now():.1f}s {server}: {sentence}\n    {story}")

    # --- waste ----------------------------------------------------------------------------------

    def exchange_began(self, server: str) -> None:
        """An attempt goes out: not within 10 s of the last, not before its backoff is over."""
        now, policy = self._world.now(), self._world.policy
        last = self._began.get(server)
        if last is not None:
            wait = policy.min_interval
            run = self._run.get(server, 0)
            if run:
                wait = max(wait, calculate_backoff_truly(run - 1))
            if now - last < wait.total_seconds() - EPSILON:
                self.fail(server, f"attempt {now - last:.2f}s after the last, {run} failures")
        self._began[server] = now

    def presented(self, server: str) -> None:
        """The token leaves: not before 80 % of its life, unless something asked for it."""
        family = self._world.provider.family(server)
        newest = family.issues[-1]
        if self._asked.pop(server, False) or self._run.get(server, 0) or not newest.delivered:
            return
        expiry = max(family.access.values(), default=0.0)
        early = expiry - self._world.now() - family.life * 0.2
        if early > 1.0:
            self.fail(server, f"refreshed {early:.0f}s before it was due")

    def challenged(self, server: str) -> None:
        self._asked[server] = True

    def failed(self, notice: RefreshFailedNotice) -> None:
        server, kind = notice.server, notice.failure.kind
        if kind is FailureKind.REFUSED:
            self._run[server] = 0
            self._asked[server] = True
        elif kind is FailureKind.UNKNOWN and server not in self._unanswered:
            self._unanswered.add(server)
            self._run[server] = 1
        else:
            self._run[server] = self._run.get(server, 0) + 1

    def succeeded(self, notice: RefreshSucceeded) -> None:
        self._run[notice.server] = 0
        self._unanswered.discard(notice.server)
        self._asked.pop(notice.server, None)

    def logged_in(self, server: str) -> None:
        """A new login: what was known of the old one is no measure any more."""
        for known in (self._began, self._run, self._asked):
            known.pop(server, None)
        self._unanswered.discard(server)

    # --- safety ---------------------------------------------------------------------------------

    def saved(self, before: Grant, after: Grant) -> None:
        if after.generation < before.generation:
            self.fail(after.server, f"generation went back")
        if after.tokens.refresh_token is None:
            self.fail(after.server, f"stored without its refresh token")

    def processed(self, server: str) -> None:
        family = self._world.provider.family(server)
        if family.lost_by_us:
            self.fail(server, f"lost by us ({family.rotation}: {family.ended})")

    async def handed_out(self, process: "Process", server: str, token: Secret) -> None:
        """A token that a caller gets is one that a crash now could not lose."""
        stored = await process.store._store.load_grant(server)
        older = (self._world.older.get(server), self._world.last_login.get(server))
        known = [grant.tokens.access_token for grant in (stored, *older) if grant is not None]
        if token not in known:
            self.fail(server, f"used a token that is not stored")

    async def judge(self, process: "Process") -> None:
        """Every login against the provider's own record."""
        world = self._world
        for family in world.provider.families():
            grant = await process.store._store.load_grant(family.server)
            if grant is None:
                self.fail(family.server, f"the grant was deleted")
            elif family.ended is None:
                self._judge_living(grant)

    def _judge_living(self, grant: Grant) -> None:
        ended = ending(grant, self._world.clock.now())
        if ended is not None:
            self.fail(grant.server, f"asks for a login ({ended}) though the provider has it")

    async def judge_quiet(self, process: "Process") -> None:
        """After the trouble is over every login that the provider still has works again."""
        await self.judge(process)
        for family in self._world.provider.families():
            grant = await process.store._store.load_grant(family.server)
            if family.ended is not None or grant is None:
                continue
            refresh_token = grant.tokens.refresh_token
            if refresh_token is None or not self._world.provider.accepts(refresh_token.reveal()):
                self.fail(family.server, "holds a refresh token that is not the live one")
            due = refresh_at(grant.tokens)
            late = self._world.clock.now() - due if due is not None else timedelta(0)
            if grant.failures or late > MAX_LATE:
                self.fail(family.server, "not refreshed though nothing is in the way")


_true_backoff = calculate_backoff


def calculate_backoff_truly(count: int):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """The product's own function as it was at import, before a test planted a bug in it."""
    return _true_backoff(count)
