"""The judge of safety and liveness: what must never be seen, whatever the seed.

Law: it has its own arithmetic; the product's word is taken only where it is what is judged.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from mcpproxy.core.errors import LoginRequired, TokenUnavailable
from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import Grant, Secret
from tests.simulation.answers import TELLS
from tests.simulation.provider import Early, Family, Processed, Rotation
from tests.simulation.waste import DOUBT, KEEP_ALIVE, MIN_INTERVAL, Waste, due_after

if TYPE_CHECKING:
    from tests.simulation.process import Process

MAX_REFUSALS: Final = 3
"""The refusal, its confirmation, the quiet probe."""

HOUR: Final = 3600.0

LONGEST_ANSWER: Final = 25.0
"""No answer travels longer, connecting included."""

PATIENCE: Final = 120
"""Seconds for a refresh that is under way to be over."""

NOTICED_WITHIN: Final = 9 * 3600.0
"""After the access token is dead, the longest outage and a clock set back included."""


class Checks(Waste):
    """Everything that is judged while a world runs, and when it is at its end."""

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
        has_ended = before.attempt is not None and after.attempt is None
        is_refusal = has_ended and refused is not None and refused != before.refusals
        if has_ended:
            pace.concluded = True
            pace.unheard += not is_refusal
        if is_refusal and refused is not None:
            self._failed(after.server, refused.failure)
        elif has_ended and failed is not None and failed != before.failures:
            self._failed(after.server, failed.failure)
        elif after.variant != before.variant:
            pace.asked = pace.again = True
        elif failed is None and before.failures is not None and refused is None:
            pace.failures, pace.asked = 0, True  # a new address, or tokens
        if after.generation > before.generation:
            self._judge_expiry(after)
            self.refreshed(family)
            pace.failures, pace.unanswered, pace.was_unknown = 0, 0, False
            # Issued before the clock was set and stored after it, it may be due at once.
            pace.issued_at = pace.began or 0.0
            pace.asked = self._stepped_at > pace.issued_at

    def _judge_expiry(self, after: Grant) -> None:
        """An access token lives from when it was received, not from when somebody read it."""
        world, tokens = self._world, after.tokens
        family = world.provider.family(after.server)
        expiry = family.access.get(tokens.access_token.reveal())
        repeats = family.login.rotation is Rotation.SAME_ANSWER_60  # its life included
        if (
            expiry is None
            or repeats
            or tokens.expires_at is None
            or self._stepped_at > world.now() - HOUR
        ):
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
            # The probe comes 90 s after the first refusal, or when the access token is dead: no
            # other replica lies to it.
            is_early = family.login.early is Early.REFUSED
            until = max(self._world.now(), family.lives_until if is_early else 0.0)
            self._world.faults.be_quiet(server, until + DOUBT / 2)
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
            grant = await self._concluded(family.server)
            if grant is None:
                self.fail(family.server, "the grant was deleted")
            elif grant != world.durable[family.server]:
                self.fail(family.server, "the store forgot what it had stored")
            elif not self.is_over(family) and not family.copied:
                self._judge_living(family, grant)

    async def _concluded(self, server: str) -> Grant | None:
        """What is stored, after the refresh that may just be under way: its answer is news."""
        for _ in range(PATIENCE):
            grant = await self._world.vault.load_grant(server)
            if grant is None or grant.attempt is None:
                return grant
            await asyncio.sleep(1.0)
        self.fail(server, "a refresh does not come to its end")
        return grant

    def _judge_living(self, family: Family, grant: Grant) -> None:
        """It is not given up, works again, and nothing of it was forgotten."""
        world = self._world
        ended = ending(grant, world.clock.now())
        waits = family.login.early is Early.REFUSED and self.has_doubt(grant.server)
        if ended is not None and not waits:
            self.fail(grant.server, f"asks for a login ({ended}) though the provider has it")
        if grant.tokens.refresh_token is None or not world.provider.accepts(
            grant.tokens.refresh_token.reveal()
        ):
            self.fail(grant.server, "holds a refresh token that is not the live one")
        if waits:
            return
        due = self._due(family)
        late = world.now() - due - self._set_back_since(due - due_after(family.login))
        if grant.failures or (due and late > world.tick + MIN_INTERVAL * 3):
            self.fail(grant.server, "not refreshed though nothing is in the way")
