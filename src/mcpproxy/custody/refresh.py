"""ONE refresh: lease, re-read, intent, connect, send, store the answer, read it, store the outcome.

Law: anything that spends the refresh token is written first, and what comes of it is written
before it is used. Runs in a task of its own that no caller can cancel.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final, assert_never

from mcpproxy.core.errors import McpproxyError, StoreUnavailable
from mcpproxy.core.events import (
    AnswerArrived,
    AttemptBegan,
    AttemptOrphaned,
    GrantEvent,
    RefreshFailed,
    RepairFailed,
    SendingBegan,
    TokensIssued,
    VariantLearned,
)
from mcpproxy.core.lifecycle import Plan, RefreshNow
from mcpproxy.core.model import Attempt, FailureKind, Grant, Phase, RefreshFailure, Secret
from mcpproxy.core.notices import RefreshAttempted, RefreshFailedNotice, RefreshSucceeded
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.core.ports import Clock, Lease, LeaseHold, Publisher
from mcpproxy.core.provider_ports import (
    AuthorizationServer,
    Issued,
    OtherVariant,
    ProviderRepair,
)
from mcpproxy.core.repair import is_in_repair, repair_due
from mcpproxy.custody.journal import RETRY_WRITE_CAP, Journal, Superseded
from mcpproxy.custody.mending import mend

SETTLE_PAUSE: Final = 4 * RETRY_WRITE_CAP
"""Counted from when the lease was taken, which proves that the store takes writes again."""

INTENT_TRIES: Final = 3
"""How often an intent is tried on facts that keep moving; then the loop comes back later."""


class NotSending(StoreUnavailable):
    """The refresh was called off before a byte left: the lease is too short, or we are stopping."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How one refresh left the grant; `grant` None: it is gone."""

    grant: Grant | None


@dataclass(frozen=True, slots=True)
class Busy:
    """Another holder has the lease, or the facts kept moving; try again shortly."""


@dataclass(frozen=True, slots=True)
class RefreshTools:
    """What a refresh works with. `new_attempt_id` is unique for ever; `holder` is this process.
    `is_online`: whether the system knows any way out; asked only after a sleep.
    """

    journal: Journal
    lease: Lease
    provider: AuthorizationServer
    clock: Clock
    publisher: Publisher
    policy: RefreshPolicy
    holder: str
    new_attempt_id: Callable[[], str]
    may_send: Callable[[], bool]
    repair: ProviderRepair | None = None
    is_online: Callable[[], bool] = lambda: True


class Refresh:
    """One refresh of one server's grant. `decide` is `plan`, bound to the moment."""

    def __init__(self, tools: RefreshTools, server: str, decide: Callable[[Grant], Plan]) -> None:
        self._tools = tools
        self._server = server
        self._decide = decide

    async def run(self) -> Refreshed | Busy:
        """Refresh if it is still due once the lease is held. Raises StoreUnavailable."""
        tools = self._tools
        known = await tools.journal.load(self._server)
        if known is None or not isinstance(self._decide(known), RefreshNow):
            return Refreshed(known)  # a sibling was sooner: nothing to lease, nothing to write
        hold = await tools.lease.acquire(f"grant:{self._server}", tools.policy.lease_ttl)
        if hold is None:
            return Busy()
        try:
            return await self._under_lease(hold)
        except Superseded:
            return Refreshed(await tools.journal.load(self._server))
        finally:
            await self._release(hold)

    async def _release(self, hold: LeaseHold) -> None:
        try:
            await self._tools.lease.release(hold)
        except McpproxyError:
            # It runs out by itself; the outcome of the refresh matters more.
            return

    async def _under_lease(self, hold: LeaseHold) -> Refreshed | Busy:
        for _ in range(INTENT_TRIES):
            grant = await self._tools.journal.load(self._server)
            if grant is not None and grant.attempt is not None:
                grant = await self._settle(grant, grant.attempt)
                if grant is None:
                    continue
            if grant is None:
                return Refreshed(None)
            if is_in_repair(grant):
                # Whoever began it is gone. If it lives and brings a client yet, that one is tried.
                await self._tools.journal.try_append(grant, RepairFailed())
                continue
            step = self._decide(grant)
            if not isinstance(step, RefreshNow):
                return Refreshed(grant)
            mended = await self._mend(grant)
            if mended is not None:
                return mended
            begun = await self._begin(grant, step)
            if begun is not None:
                return Refreshed(await self._attempt(begun, hold))
        return Busy()

    async def _mend(self, grant: Grant) -> Refreshed | Busy | None:
        """What is to be mended first, if anything is: in a run of its own, as the attempt that
        follows it needs a whole lease.
        """
        tools = self._tools
        repair = repair_due(grant, tools.clock.now())
        if repair is None or tools.repair is None:
            return None
        mended = await mend(grant, repair, tools.repair, tools.journal, tools.clock)
        return Busy() if mended is None else Refreshed(mended)

    async def _settle(self, grant: Grant, attempt: Attempt) -> Grant | None:
        """Finish what a holder that is gone had begun; None if these facts are not the newest."""
        if attempt.answer is not None:
            return await self._conclude(grant, attempt, attempt.answer, _Writing.ON_THESE_FACTS)
        if attempt.phase is Phase.SENDING:
            # A holder that lives but could not write (full disk, long pause) writes its answer
            # the moment it can, and loses its lease before: give it that moment.
            await asyncio.sleep(SETTLE_PAUSE.total_seconds())
        event = AttemptOrphaned(attempt.attempt_id, self._tools.clock.now())
        settled = await self._tools.journal.try_append(grant, event)
        if settled is not None and settled.failures is not None:
            # Its holder did not live to tell; every attempt counts.
            self._publish_failure(settled, attempt, settled.failures.failure, None)
        return settled

    async def _begin(self, grant: Grant, step: RefreshNow) -> Grant | None:
        """The intent, stored on exactly the facts it was decided on; None if they moved."""
        token = grant.tokens.refresh_token
        attempt = Attempt(
            attempt_id=self._tools.new_attempt_id(),
            begun_at=self._tools.clock.now(),
            generation=grant.generation,
            fingerprint=token.fingerprint if token else "",
            holder=self._tools.holder,
            cause=step.cause,
        )
        return await self._tools.journal.try_append(grant, AttemptBegan(attempt))

    async def _attempt(self, grant: Grant, hold: LeaseHold) -> Grant:
        attempt = grant.attempt
        if attempt is None:
            raise AssertionError("an attempt was just begun")
        tools, began = self._tools, self._tools.clock.elapsed()
        retry = grant.failures.count if grant.failures else 0
        tools.publisher.publish(
            RefreshAttempted(
                grant.server, attempt.attempt_id, grant.generation, retry, attempt.cause
            )
        )
        sender = _Sender(tools, grant, attempt.attempt_id, hold)
        try:
            answer = await tools.provider.present(grant, before_send=sender.before_send)
        except NotSending as called_off:
            failure = RefreshFailure(FailureKind.NOT_SENT, called_off.message)
            return await self._fail(sender.grant, attempt, failure, began)
        if isinstance(answer, RefreshFailure):
            return await self._fail(sender.grant, attempt, answer, began)
        stored = await tools.journal.append_at_any_cost(
            sender.grant, AnswerArrived(attempt.attempt_id, answer)
        )
        concluded = await self._conclude(stored, attempt, answer, _Writing.AT_ANY_COST, began)
        return concluded or stored

    async def _conclude(
        self,
        grant: Grant,
        attempt: Attempt,
        answer: Secret,
        writing: "_Writing",
        began: timedelta | None = None,
    ) -> Grant | None:
        """Read a stored answer and store what it means, then tell. `began` None: another process
        asked. None: these facts are not the newest.
        """
        now = self._tools.clock.now()
        outcome = self._tools.provider.read(grant, answer, now)
        event: GrantEvent
        match outcome:
            case Issued(tokens):
                event = TokensIssued(attempt.attempt_id, attempt.generation, tokens, now)
                failure = None
            case OtherVariant(variant):
                event = VariantLearned(attempt.attempt_id, variant, now)
                detail = f"the provider wants the request {variant.value.replace('_', ' ')}"
                failure = RefreshFailure(FailureKind.TRANSIENT, detail)
            case RefreshFailure():
                event = RefreshFailed(attempt.attempt_id, outcome, now)
                failure = outcome
            case _:
                assert_never(outcome)
        stored = await self._write(grant, event, writing)
        if stored is not None and failure is None:
            self._publish_success(stored, attempt, began)
        elif stored is not None and failure is not None:
            self._publish_failure(stored, attempt, failure, began)
        return stored

    async def _fail(
        self, grant: Grant, attempt: Attempt, failure: RefreshFailure, began: timedelta | None
    ) -> Grant:
        event = RefreshFailed(attempt.attempt_id, failure, self._tools.clock.now())
        stored = await self._tools.journal.append_at_any_cost(grant, event)
        self._publish_failure(stored, attempt, failure, began)
        return stored

    async def _write(self, grant: Grant, event: GrantEvent, writing: "_Writing") -> Grant | None:
        match writing:
            case _Writing.ON_THESE_FACTS:
                return await self._tools.journal.try_append(grant, event)
            case _Writing.AT_ANY_COST:
                return await self._tools.journal.append_at_any_cost(grant, event)
            case _:
                assert_never(writing)

    def _publish_success(self, stored: Grant, attempt: Attempt, began: timedelta | None) -> None:
        self._tools.publisher.publish(
            RefreshSucceeded(
                self._server,
                attempt.attempt_id,
                stored.generation,
                self._since(began),
                stored.tokens.expires_at,
            )
        )

    def _publish_failure(
        self, grant: Grant, attempt: Attempt, failure: RefreshFailure, began: timedelta | None
    ) -> None:
        self._tools.publisher.publish(
            RefreshFailedNotice(
                self._server, attempt.attempt_id, grant.generation, self._since(began), failure
            )
        )

    def _since(self, began: timedelta | None) -> timedelta:
        return timedelta(0) if began is None else self._tools.clock.elapsed() - began


class _Writing(Enum):
    """Our own answer is written whatever the facts are by now; another's only if it still waits."""

    AT_ANY_COST = auto()
    ON_THESE_FACTS = auto()


class _Sender:
    """Stands between the connection and the first byte: the last moment to call it off."""

    def __init__(self, tools: RefreshTools, grant: Grant, attempt_id: str, hold: LeaseHold) -> None:
        self.grant = grant
        self._tools = tools
        self._attempt_id = attempt_id
        self._hold = hold

    async def before_send(self) -> None:
        """Store that the token is about to be spent. Raises NotSending, StoreUnavailable."""
        self._require_lease()
        if not self._tools.may_send():
            raise NotSending("called off before sending: mcpproxy is stopping")
        self.grant = await self._tools.journal.append(self.grant, SendingBegan(self._attempt_id))
        attempt = self.grant.attempt
        if attempt is None or attempt.attempt_id != self._attempt_id:
            raise NotSending("called off before sending: another holder took the refresh over")
        # The machine may have stood still, or the disk been slow, while that was written.
        self._require_lease()

    def _require_lease(self) -> None:
        left = self._hold.until - self._tools.clock.elapsed()
        if left < self._tools.policy.answer_timeout:
            raise NotSending("called off before sending: the lease would end before the answer")
