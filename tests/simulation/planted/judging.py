"""Mistakes with verdicts and words: what ends a login, and what is said of it."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from mcpproxy.core import evolution, health, lifecycle
from mcpproxy.core.lifecycle import Plan, RefreshNow
from mcpproxy.core.model import (
    Attempt,
    Ending,
    FailureKind,
    Grant,
    Learned,
    RefreshCause,
    RefreshFailure,
    Refusals,
    TokenSet,
    Verdict,
)
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.custody.refresh import Refresh
from mcpproxy.observability.metrics import Metrics
from tests.simulation.planting import Mutant, everywhere, replaced
from tests.simulation.settings import EARLY, ENDINGS, UNREACHABLE


def cleared_on_503() -> Any:
    right = evolution._failed

    def failed(grant: Grant, failure: RefreshFailure, at: datetime) -> Grant:
        evolved = right(grant, failure, at)
        if failure.status != 503:
            return evolved
        return replace(evolved, tokens=replace(evolved.tokens, refresh_token=None))

    return everywhere(right, failed)


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

    return everywhere(right, hasty)


def gives_up_after_five_failures() -> Any:
    right = lifecycle.plan

    def plan(grant: Grant, *args: Any, **options: Any) -> Plan:
        if grant.failures is not None and grant.failures.count >= 5:
            return lifecycle.AwaitLogin()
        return right(grant, *args, **options)

    return everywhere(right, plan)


def hammers_a_dead_login() -> Any:
    right = lifecycle.plan

    def plan(grant: Grant, now: datetime, *args: Any, **options: Any) -> Plan:
        begun_at = grant.last_begun_at if grant.refusals is not None else None
        if begun_at is not None and now - begun_at > timedelta(seconds=30):
            return RefreshNow(RefreshCause.PROBE)
        return right(grant, now, *args, **options)

    return everywhere(right, plan)


def blames_the_provider_for_a_lost_answer() -> Any:
    right = evolution._failed

    def failed(grant: Grant, failure: RefreshFailure, at: datetime) -> Grant:
        return replace(right(grant, failure, at), unanswered=0)

    return everywhere(right, failed)


def asked_for_the_last_time_too_soon() -> Any:
    def probe_at(
        grant: Grant, refusals: Refusals, now: datetime, policy: RefreshPolicy
    ) -> datetime:
        return refusals.first_at + policy.probe_after

    return everywhere(lifecycle._probe_at, probe_at)


def early_refusals_are_not_learned() -> Any:
    def learn(known: Learned, grant: Grant, new: TokenSet) -> Learned:
        return known

    return everywhere(evolution._learn_of_refusals, learn)


def verdict_in_our_own_words() -> Any:
    right = lifecycle.ending

    def ending(grant: Grant, now: datetime) -> Ending | None:
        ended = right(grant, now)
        return None if ended is None else replace(ended, evidence="your session has expired")

    return everywhere(right, ending)


def every_failure_shown_as_an_end() -> Any:
    right = lifecycle.ending

    def ending(grant: Grant, now: datetime) -> Ending | None:
        if grant.failures is not None and grant.failures.count >= 3:
            return Ending(Verdict.PROVIDER_ENDED, now, grant.failures.failure.detail)
        return right(grant, now)

    return replaced((health, "ending", ending))


def an_end_is_not_shown() -> Any:
    right = lifecycle.ending

    def ending(grant: Grant, now: datetime) -> Ending | None:
        ended = right(grant, now)
        return None if grant.tokens.expires_at is None else ended

    return replaced((health, "ending", ending))


def unsent_called_unknown() -> Any:
    right = evolution._failed

    def failed(grant: Grant, failure: RefreshFailure, at: datetime) -> Grant:
        if failure.kind is FailureKind.NOT_SENT:
            failure = replace(failure, kind=FailureKind.UNKNOWN)
        return right(grant, failure, at)

    return everywhere(right, failed)


def failures_are_not_counted() -> Any:
    right = Metrics.hear

    def hear(self: Metrics, notice: Any) -> None:
        failure = getattr(notice, "failure", None)
        if failure is None or failure.kind is not FailureKind.UNKNOWN:
            right(self, notice)

    return replaced((Metrics, "hear", hear))


MUTANTS: Final = (
    Mutant("cleared on 503", cleared_on_503),
    Mutant("deleted on invalid_grant", deleted_on_invalid_grant),
    Mutant("one refusal is a verdict", one_refusal_is_a_verdict),
    Mutant("gives up after five failures", gives_up_after_five_failures),
    Mutant("hammers a dead login", hammers_a_dead_login, ENDINGS),
    Mutant("blames the provider for a lost answer", blames_the_provider_for_a_lost_answer),
    Mutant("asked for the last time too soon", asked_for_the_last_time_too_soon, EARLY),
    Mutant("early refusals are not learned", early_refusals_are_not_learned, EARLY),
    Mutant("a verdict in our own words", verdict_in_our_own_words, ENDINGS),
    Mutant("every failure is shown as an end", every_failure_shown_as_an_end),
    Mutant("an end is not shown", an_end_is_not_shown, ENDINGS),
    Mutant("what was not sent is called unknown", unsent_called_unknown, UNREACHABLE),
    Mutant("lost answers are not counted", failures_are_not_counted),
)
