"""What is in memory about one server's grant: its facts, its refresh in flight, who waits for it.

Law: a cache of the store and of `plan`, never a source of truth; losing it loses nothing.
"""

import asyncio
from datetime import datetime, timedelta

from mcpproxy.core.evolution import REPLAY_WINDOW
from mcpproxy.core.lifecycle import Plan, RefreshNow, Rest, WaitUntil, ending, plan
from mcpproxy.core.model import Grant, RefreshCause
from mcpproxy.core.notices import LoginLost, RefreshScheduled, RetryScheduled
from mcpproxy.core.policy import RefreshPolicy, is_alive
from mcpproxy.core.ports import Publisher
from mcpproxy.custody.journal import MAX_READ_LAG
from mcpproxy.custody.pacing import Urgency


class Entry:
    """One server's grant in memory. `not_before` is a brake in elapsed time: it holds whatever
    the wall clock does. `waiting` is how many callers want a token of it right now.
    """

    __slots__ = (
        "_announced",
        "_changed",
        "_ended",
        "_learned_at",
        "_step",
        "asked_at",
        "grant",
        "not_before",
        "reached_at",
        "refresh",
        "waiting",
    )

    def __init__(self, grant: Grant, elapsed: timedelta) -> None:
        self.grant = grant
        self._learned_at = elapsed
        self.refresh: asyncio.Task[None] | None = None
        self.not_before = timedelta(0)
        self.asked_at: datetime | None = None
        self.reached_at: datetime | None = None
        self.waiting = 0
        self._step: Plan | None = None
        self._announced: Plan | None = None
        self._ended = False
        self._changed = asyncio.Event()

    def take(self, grant: Grant, elapsed: timedelta) -> None:
        """These are the facts now, unless those in memory are newer: a lagging read, a refresh of
        the login before this one. No read lags for ever: a clock that was set back between two
        logins, or a vault that was put back, makes older-looking facts the true ones.
        """
        if self._looks_older(grant) and elapsed - self._learned_at < MAX_READ_LAG:
            return
        self.put(grant, elapsed)

    def put(self, grant: Grant, elapsed: timedelta) -> None:
        """These are the facts now."""
        self.grant = grant
        self._learned_at = elapsed
        self.signal()

    def _looks_older(self, grant: Grant) -> bool:
        known = self.grant
        if grant.login_id == known.login_id:
            return grant.revision < known.revision
        return grant.logged_in_at < known.logged_in_at

    def signal(self) -> None:
        """Wake who waits; what was planned is planned anew."""
        self._step = None
        self._changed.set()
        self._changed = asyncio.Event()

    def ask(self, at: datetime) -> None:
        """Somebody wants a refresh now."""
        self.asked_at = at
        self._step = None

    def reach(self, at: datetime) -> None:
        """The way to its provider is open again: failures from before are no guide any more."""
        self.reached_at = at
        self._step = None

    def forget_plan(self) -> None:
        """The clock was set, or the machine woke: plan anew. That says more than `reached_at`,
        which may be a time of a clock that was wrong.
        """
        self.reached_at = None
        self._step = None

    async def changed(self) -> None:
        """Wait until anything about this entry changes."""
        await self._changed.wait()

    def step(self, now: datetime, policy: RefreshPolicy, woken_at: datetime | None) -> Plan:
        """What is due. A plan to wait stands until its time has come or a fact changes."""
        known = self._step
        if known is not None and not (isinstance(known, WaitUntil) and now >= known.at):
            return known
        step = self.due(self.grant, now, policy, woken_at)
        if isinstance(step, WaitUntil | Rest):
            self._step = step
        return step

    def due(
        self, grant: Grant, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
    ) -> Plan:
        """`plan` for these facts, with what was asked for and noticed here."""
        woken_at = self.reached_at or woken_at
        if self.asked_at is not None and self.asked_at > now:
            self.asked_at = None  # the clock was set back: it would be asked for again and again
        return plan(grant, now, policy, woken_at=woken_at, asked_at=self.asked_at)

    def look_at(self, step: Plan, now: datetime) -> datetime | None:
        """When time alone makes a difference: what is due comes due, or the access token dies and
        a refusal becomes an end. None: only an event does.
        """
        moments = [step.at] if isinstance(step, WaitUntil) else []
        expires_at = self.grant.tokens.expires_at
        if expires_at is not None and expires_at > now:
            moments.append(expires_at)
        return min(moments, default=None)

    def urgency(self, step: RefreshNow, now: datetime) -> Urgency:
        """How much somebody needs this refresh."""
        run = self.grant.failures
        lately = run is not None and now - run.begun_at <= REPLAY_WINDOW
        if step.cause is RefreshCause.RECOVERY or (step.cause is RefreshCause.RESEND and lately):
            return Urgency.WINDOW_CLOSING
        if self.waiting:
            return Urgency.CALLER_WAITS
        alive = is_alive(self.grant.tokens, now)
        return Urgency.AHEAD_OF_TIME if alive else Urgency.EXPIRED

    def tell(self, step: Plan, now: datetime, publisher: Publisher) -> None:
        """Publish when the next attempt is due, and an ending, each once."""
        ended = ending(self.grant, now)
        if ended is not None and not self._ended:
            publisher.publish(LoginLost(self.grant.server, ended.verdict.value, ended.evidence))
        self._ended = ended is not None
        if not isinstance(step, WaitUntil) or step == self._announced:
            return
        self._announced = step
        grant = self.grant
        run = grant.refusals or grant.failures
        if run is None:
            publisher.publish(RefreshScheduled(grant.server, grant.generation, step.at))
        else:
            publisher.publish(
                RetryScheduled(grant.server, grant.generation, run.count, step.at, run.failure)
            )
