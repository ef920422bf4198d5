"""Mistakes with the lease, the intent and the store: who may send, and what is on disk before."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from mcpproxy.core import evolution, ledger
from mcpproxy.core.errors import StoreError
from mcpproxy.core.events import AttemptBegan, AttemptOrphaned, GrantEvent, SendingBegan
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.lifecycle import RefreshNow
from mcpproxy.core.model import Attempt, Grant
from mcpproxy.core.ports import LeaseHold
from mcpproxy.custody import refresh
from mcpproxy.custody.entry import Entry
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import Busy, Refresh, Refreshed
from mcpproxy.custody.token_counter import TokenCounter
from mcpproxy.storage.memory import MemoryStore
from tests.simulation.planting import Mutant, everywhere, manager_of, replaced
from tests.simulation.settings import ENDINGS, JAMMED, LOCKED, PAUSES, SLOW


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
            return evolution.evolve(grant, event)
        return await try_append(self, grant, event)

    async def forgetful(self: Journal, grant: Grant, event: GrantEvent) -> Grant:
        if isinstance(event, SendingBegan):
            return evolution.evolve(grant, event)
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
    async def save_grant(self: MemoryStore, grant: Grant, **_: object) -> bool:
        self.world.grants[grant.server] = grant
        return True

    return replaced((MemoryStore, "save_grant", save_grant))


def no_pause_before_settling() -> Any:
    return replaced((refresh, "SETTLE_PAUSE", timedelta(0)))


def the_clock_is_believed_more_than_the_store() -> Any:
    def take(self: Entry, grant: Grant, elapsed: timedelta) -> None:
        if not self._looks_older(grant):
            self.put(grant, elapsed)

    def adopt(self: TokenCounter, grant: Grant) -> None:
        self._take(grant)

    return replaced((Entry, "take", take), (TokenCounter, "adopt", adopt))


def lease_not_given_back() -> Any:
    async def release(self: Refresh, hold: LeaseHold) -> None:
        return None

    return replaced((Refresh, "_release", release))


def late_answer_replaces_a_newer_one() -> Any:
    right = evolution._issued

    def issued(grant: Grant, event: Any) -> Grant:
        return right(grant, replace(event, generation=grant.generation))

    return everywhere(right, issued)


def locked_store_taken_for_an_empty_one() -> Any:
    right = Journal.load_all

    async def load_all(self: Journal) -> tuple[Grant, ...]:
        try:
            return await right(self)
        except StoreError:
            return ()

    return replaced((Journal, "load_all", load_all))


def failures_counted_in_memory_only() -> Any:
    load, load_all = Journal.load, Journal.load_all

    def as_after_a_start(grant: Grant) -> Grant:
        run = grant.failures
        return grant if run is None else replace(grant, failures=replace(run, count=1))

    async def forgetful(self: Journal, server: str) -> Grant | None:
        grant = await load(self, server)
        return None if grant is None else as_after_a_start(grant)

    async def forgetful_all(self: Journal) -> tuple[Grant, ...]:
        return tuple(as_after_a_start(grant) for grant in await load_all(self))

    return replaced((Journal, "load", forgetful), (Journal, "load_all", forgetful_all))


def taking_over_leaves_no_line() -> Any:
    right = ledger.line_of

    def line_of(before: Grant, event: GrantEvent, after: Grant, now: datetime) -> LedgerLine | None:
        silent = isinstance(event, AttemptOrphaned)
        return None if silent else right(before, event, after, now)

    return everywhere(right, line_of)


def ledger_tells_the_new_fingerprint() -> Any:
    right = ledger.line_of

    def line_of(before: Grant, event: GrantEvent, after: Grant, now: datetime) -> LedgerLine | None:
        line = right(before, event, after, now)
        if line is None or not line.new_fingerprint:
            return line
        return replace(line, fingerprint=line.new_fingerprint)

    return everywhere(right, line_of)


MUTANTS: Final = (
    Mutant("no lease", no_lease, SLOW),
    Mutant("no re-read under the lease", no_reread_under_the_lease),
    Mutant("no intent", no_intent),
    Mutant("sending not noted", sending_not_noted),
    Mutant("lease not looked at before sending", lease_not_looked_at_before_sending, PAUSES),
    Mutant("no compare before the swap", no_compare_before_the_swap, SLOW),
    Mutant("no pause before settling", no_pause_before_settling, JAMMED),
    Mutant("the clock is believed", the_clock_is_believed_more_than_the_store, ENDINGS),
    Mutant("the lease is not given back", lease_not_given_back),
    Mutant("a late answer replaces a newer one", late_answer_replaces_a_newer_one, PAUSES),
    Mutant("a locked store is taken for an empty one", locked_store_taken_for_an_empty_one, LOCKED),
    Mutant("failures are counted in memory only", failures_counted_in_memory_only),
    Mutant("taking over leaves no line", taking_over_leaves_no_line),
    Mutant("the ledger tells the new fingerprint", ledger_tells_the_new_fingerprint),
)
