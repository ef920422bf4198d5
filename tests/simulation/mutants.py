"""Planted bugs: each replaces one piece of the product by what a plausible mistake would make it.

Law: a simulator that finds nothing proves nothing; whoever plants a bug here sees it found.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from mcpproxy.core import lifecycle
from mcpproxy.core.events import AnswerArrived, AttemptBegan, GrantEvent, SendingBegan, TokensIssued
from mcpproxy.core.lifecycle import Plan, RefreshNow
from mcpproxy.core.model import (
    Attempt,
    Ending,
    FailureKind,
    FailureRun,
    Grant,
    RefreshCause,
    RefreshFailure,
    Secret,
    TokenSet,
    Verdict,
)
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy, refresh_at
from mcpproxy.core.ports import Issued, LeaseHold
from mcpproxy.custody import entry, refresh, refresh_manager
from mcpproxy.custody.entry import Entry
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import Busy, Refresh, Refreshed, RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.storage.memory import MemoryStore
from tests.simulation.planting import manager_of, replaced
from tests.simulation.run import Setting
from tests.simulation.settings import (
    BUSY,
    ENDINGS,
    FULL_DISKS,
    IMPATIENT,
    JAMMED,
    PAUSES,
    RESTARTS,
    SLOW,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug, and the world in which it shows soonest."""

    name: str
    plant: Callable[[], Any]
    setting: Setting = BUSY


# --- lease, re-read, intent ---------------------------------------------------------------------


def no_lease() -> Any:
    async def run(self: Refresh) -> Refreshed | Busy:
        until = self._tools.clock.elapsed() + self._tools.policy.lease_ttl
        return await self._under_lease(LeaseHold(self._server, "nobody", 0, until))

    return replaced((Refresh, "run", run))


def no_reread_under_the_lease() -> Any:
    async def under_lease(self: Refresh, hold: LeaseHold) -> Refreshed | Busy:
        grant = manager_of(self).grant(self._server)
        if grant is None:
            return Refreshed(None)
        if grant.attempt is not None:
            grant = await self._settle(grant, grant.attempt) or await self._tools.journal.load(
                self._server
            )
        if grant is None or not isinstance(step := self._decide(grant), RefreshNow):
            return Refreshed(grant)
        attempt = Attempt(
            attempt_id=self._tools.new_attempt_id(),
            begun_at=self._tools.clock.now(),
            generation=grant.generation,
            fingerprint="",
            holder=self._tools.holder,
            cause=step.cause,
        )
        stored = await self._tools.journal.append(grant, AttemptBegan(attempt))
        return Refreshed(await self._attempt(replace(stored, tokens=grant.tokens), hold))

    return replaced((Refresh, "_under_lease", under_lease))


def no_intent() -> Any:
    try_append, append = Journal.try_append, Journal.append

    async def forgetful_try(self: Journal, grant: Grant, event: GrantEvent) -> Grant | None:
        if isinstance(event, AttemptBegan):
            return lifecycle.evolve(grant, event)
        return await try_append(self, grant, event)

    async def forgetful(self: Journal, grant: Grant, event: GrantEvent) -> Grant:
        if isinstance(event, SendingBegan):
            return lifecycle.evolve(grant, event)
        return await append(self, grant, event)

    return replaced((Journal, "try_append", forgetful_try), (Journal, "append", forgetful))


def sending_not_noted() -> Any:
    append = Journal.append

    async def forgetful(self: Journal, grant: Grant, event: GrantEvent) -> Grant:
        return grant if isinstance(event, SendingBegan) else await append(self, grant, event)

    return replaced((Journal, "append", forgetful))


def lease_not_looked_at_before_sending() -> Any:
    return replaced((refresh._Sender, "_require_lease", lambda self: None))


def no_compare_before_the_swap() -> Any:
    async def save_grant(self: MemoryStore, grant: Grant, *, expected_revision: int | None) -> bool:
        self.world.grants[grant.server] = grant
        return True

    return replaced((MemoryStore, "save_grant", save_grant))


def no_pause_before_settling() -> Any:
    return replaced((refresh, "SETTLE_PAUSE", timedelta(0)))


# --- what was received --------------------------------------------------------------------------


def used_before_stored() -> Any:
    append, attempt = Journal.append_at_any_cost, Refresh._attempt
    at_work: dict[str, Refresh] = {}

    async def eager_append(self: Journal, grant: Grant, event: GrantEvent) -> Grant:
        if isinstance(event, AnswerArrived) and grant.attempt is not None:
            one = at_work[event.attempt_id]
            outcome = one._tools.provider.read(grant, event.answer, one._tools.clock.now())
            if isinstance(outcome, Issued):
                manager_of(one).adopt(replace(grant, tokens=outcome.tokens, attempt=None))
        return await append(self, grant, event)

    async def noted_attempt(self: Refresh, grant: Grant, hold: LeaseHold) -> Grant:
        if grant.attempt is not None:
            at_work[grant.attempt.attempt_id] = self
        return await attempt(self, grant, hold)

    return replaced(
        (Journal, "append_at_any_cost", eager_append), (Refresh, "_attempt", noted_attempt)
    )


def told_before_stored() -> Any:
    write = Refresh._write

    async def early(self: Refresh, grant: Grant, event: GrantEvent, writing: Any) -> Grant | None:
        if isinstance(event, TokensIssued) and grant.attempt is not None:
            self._publish_success(lifecycle.evolve(grant, event), grant.attempt, timedelta(0))
        return await write(self, grant, event, writing)

    return replaced((Refresh, "_write", early))


def old_refresh_token_kept() -> Any:
    right = lifecycle._with_tokens

    def with_tokens(grant: Grant, tokens: TokenSet) -> Grant:
        return right(grant, replace(tokens, refresh_token=grant.tokens.refresh_token))

    return replaced((lifecycle, "_with_tokens", with_tokens))


def missing_refresh_token_stored_as_none() -> Any:
    right = lifecycle._with_tokens

    def with_tokens(grant: Grant, tokens: TokenSet) -> Grant:
        evolved = right(grant, tokens)
        return replace(evolved, tokens=replace(evolved.tokens, refresh_token=tokens.refresh_token))

    return replaced((lifecycle, "_with_tokens", with_tokens))


def store_given_up_when_full() -> Any:
    return replaced((Journal, "append_at_any_cost", Journal.append))


# --- who may end a refresh ----------------------------------------------------------------------


def a_caller_cancels_the_refresh() -> Any:
    right = RefreshManager._usable_token

    async def usable_token(self: RefreshManager, server: str, url: str) -> Secret:
        try:
            return await right(self, server, url)
        except asyncio.CancelledError:
            waited_for = self._entries.get(server)
            if waited_for is not None and waited_for.refresh is not None:
                waited_for.refresh.cancel()
            raise

    return replaced((RefreshManager, "_usable_token", usable_token))


def stop_does_not_wait() -> Any:
    async def stop(self: RefreshManager) -> None:
        if self._loop is not None:
            self._loop.cancel()

    return replaced((RefreshManager, "stop", stop))


# --- when to ask again --------------------------------------------------------------------------


def backoff_ignored() -> Any:
    def calculate_backoff(retry_count: int, policy: RefreshPolicy = DEFAULT_POLICY) -> timedelta:
        return policy.backoff_base

    return replaced((lifecycle, "calculate_backoff", calculate_backoff))


def retry_after_ignored() -> Any:
    right = lifecycle._retry_at

    def retry_at(
        run: FailureRun, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
    ) -> datetime:
        failure = replace(run.failure, retry_at=None)
        return right(replace(run, failure=failure), now, policy, woken_at)

    return replaced((lifecycle, "_retry_at", retry_at))


def minimum_interval_ignored() -> Any:
    begin = RefreshManager.__init__

    def hasty(self: RefreshManager, tools: RefreshTools, *, tick: timedelta) -> None:
        policy = replace(tools.policy, min_interval=timedelta(seconds=1))
        begin(self, replace(tools, policy=policy), tick=tick)

    return replaced((RefreshManager, "__init__", hasty))


def refreshed_at_half_life() -> Any:
    def early(tokens: TokenSet, policy: RefreshPolicy = DEFAULT_POLICY) -> datetime | None:
        return refresh_at(tokens, replace(policy, refresh_fraction=0.5))

    return replaced((lifecycle, "refresh_at", early))


def lost_answer_not_asked_for_in_time() -> Any:
    right = lifecycle._retry_at

    def retry_at(
        run: FailureRun, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
    ) -> datetime:
        at = right(run, now, policy, woken_at)
        unknown = run.failure.kind is FailureKind.UNKNOWN
        return max(at, run.begun_at + timedelta(seconds=70)) if unknown else at

    return replaced((lifecycle, "_retry_at", retry_at))


# --- who ends a login ---------------------------------------------------------------------------


def cleared_on_503() -> Any:
    right = lifecycle._failed

    def failed(grant: Grant, failure: RefreshFailure, at: datetime) -> Grant:
        evolved = right(grant, failure, at)
        if failure.status != 503:
            return evolved
        return replace(evolved, tokens=replace(evolved.tokens, refresh_token=None))

    return replaced((lifecycle, "_failed", failed))


def deleted_on_invalid_grant() -> Any:
    right = Refresh._publish_failure

    def publish(
        self: Refresh,
        grant: Grant,
        attempt: Attempt,
        failure: RefreshFailure,
        began: timedelta | None,
    ) -> None:
        right(self, grant, attempt, failure, began)
        if failure.kind is FailureKind.REFUSED:
            deleting.append(
                asyncio.create_task(self._tools.journal._store.forget_grant(grant.server))
            )

    deleting: list[asyncio.Task[None]] = []
    return replaced((Refresh, "_publish_failure", publish))


def one_refusal_is_a_verdict() -> Any:
    right = lifecycle.ending

    def hasty(grant: Grant, now: datetime) -> Ending | None:
        if grant.refusals is not None:
            return Ending(Verdict.PROVIDER_ENDED, grant.refusals.begun_at, "invalid_grant")
        return right(grant, now)

    return replaced((entry, "ending", hasty), (refresh_manager, "ending", hasty))


def gives_up_after_five_failures() -> Any:
    right = lifecycle.plan

    def plan(grant: Grant, *args: Any, **options: Any) -> Plan:
        if grant.failures is not None and grant.failures.count >= 5:
            return lifecycle.AwaitLogin()
        return right(grant, *args, **options)

    return replaced((entry, "plan", plan), (refresh_manager, "plan", plan))


def hammers_a_dead_login() -> Any:
    right = lifecycle.plan

    def plan(grant: Grant, now: datetime, *args: Any, **options: Any) -> Plan:
        begun_at = grant.last_begun_at if grant.refusals is not None else None
        if begun_at is not None and now - begun_at > timedelta(seconds=30):
            return RefreshNow(RefreshCause.PROBE)
        return right(grant, now, *args, **options)

    return replaced((entry, "plan", plan), (refresh_manager, "plan", plan))


def blames_the_provider_for_a_lost_answer() -> Any:
    right = lifecycle._failed

    def failed(grant: Grant, failure: RefreshFailure, at: datetime) -> Grant:
        return replace(right(grant, failure, at), unanswered=0)

    return replaced((lifecycle, "_failed", failed))


def the_clock_is_believed_more_than_the_store() -> Any:
    def take(self: Entry, grant: Grant, elapsed: timedelta) -> None:
        if not self._looks_older(grant):
            self.put(grant, elapsed)

    def adopt(self: RefreshManager, grant: Grant) -> None:
        self._take(grant)

    return replaced((Entry, "take", take), (RefreshManager, "adopt", adopt))


MUTANTS: Final = (
    Mutant("no lease", no_lease, SLOW),
    Mutant("no re-read under the lease", no_reread_under_the_lease),
    Mutant("no intent", no_intent),
    Mutant("used before stored", used_before_stored, FULL_DISKS),
    Mutant("a caller's cancellation ends the refresh", a_caller_cancels_the_refresh, IMPATIENT),
    Mutant("backoff ignored", backoff_ignored),
    Mutant("cleared on 503", cleared_on_503),
    Mutant("deleted on invalid_grant", deleted_on_invalid_grant),
    Mutant("old refresh token kept after rotation", old_refresh_token_kept),
    Mutant("a missing refresh_token stored as none", missing_refresh_token_stored_as_none),
    Mutant("sending not noted", sending_not_noted),
    Mutant("lease not looked at before sending", lease_not_looked_at_before_sending, PAUSES),
    Mutant("no compare before the swap", no_compare_before_the_swap, SLOW),
    Mutant("no pause before settling", no_pause_before_settling, JAMMED),
    Mutant("told before stored", told_before_stored),
    Mutant("an answer is given up when the disk is full", store_given_up_when_full, FULL_DISKS),
    Mutant("stop does not wait", stop_does_not_wait, RESTARTS),
    Mutant("Retry-After ignored", retry_after_ignored),
    Mutant("minimum interval ignored", minimum_interval_ignored),
    Mutant("refreshed at half life", refreshed_at_half_life),
    Mutant("a lost answer is not asked for in time", lost_answer_not_asked_for_in_time),
    Mutant("one refusal is a verdict", one_refusal_is_a_verdict),
    Mutant("gives up after five failures", gives_up_after_five_failures),
    Mutant("hammers a dead login", hammers_a_dead_login, ENDINGS),
    Mutant("the clock is believed", the_clock_is_believed_more_than_the_store, ENDINGS),
    Mutant("blames the provider for a lost answer", blames_the_provider_for_a_lost_answer),
)
