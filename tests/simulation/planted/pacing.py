"""Mistakes with time: when a refresh is due, when it is tried again, what a clock says."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from mcpproxy.core import lifecycle
from mcpproxy.core import policy as policy_of
from mcpproxy.core.http import HttpRequest
from mcpproxy.core.lifecycle import Plan
from mcpproxy.core.model import FailureKind, FailureRun, Grant, Secret, TokenSet
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy, refresh_at
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.custody.wake import WakeWatch
from mcpproxy.oauth import retry_after
from mcpproxy.oauth import token as token_of
from tests.simulation.planting import Mutant, everywhere, replaced
from tests.simulation.settings import CLOCKS, OUTAGES


def backoff_ignored() -> Any:
    def calculate_backoff(retry_count: int, policy: RefreshPolicy = DEFAULT_POLICY) -> timedelta:
        return policy.backoff_base

    return everywhere(policy_of.calculate_backoff, calculate_backoff)


def retry_after_ignored() -> Any:
    right = lifecycle._retry_at

    def retry_at(
        run: FailureRun, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
    ) -> datetime:
        failure = replace(run.failure, retry_at=None)
        return right(replace(run, failure=failure), now, policy, woken_at)

    return everywhere(right, retry_at)


def minimum_interval_ignored() -> Any:
    begin = RefreshManager.__init__

    def hasty(self: RefreshManager, tools: RefreshTools, *, tick: timedelta) -> None:
        policy = replace(tools.policy, min_interval=timedelta(seconds=1))
        begin(self, replace(tools, policy=policy), tick=tick)

    return replaced((RefreshManager, "__init__", hasty))


def refreshed_at_half_life() -> Any:
    def early(tokens: TokenSet, policy: RefreshPolicy = DEFAULT_POLICY) -> datetime | None:
        return refresh_at(tokens, replace(policy, refresh_fraction=0.5))

    return everywhere(refresh_at, early)


def lost_answer_not_asked_for_in_time() -> Any:
    right = lifecycle._retry_at

    def retry_at(
        run: FailureRun, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
    ) -> datetime:
        at = right(run, now, policy, woken_at)
        unknown = run.failure.kind is FailureKind.UNKNOWN
        return max(at, run.begun_at + timedelta(seconds=70)) if unknown else at

    return everywhere(right, retry_at)


def date_read_as_local_time() -> Any:
    right = retry_after.parse_http_date

    def parse_http_date(value: str | None) -> datetime | None:
        if value is None or not value.endswith("GMT"):
            return right(value)
        at = right(value)
        return at - timedelta(hours=2) if at is not None else None

    def parse_retry_after(value: str | None, now: datetime, **options: Any) -> datetime | None:
        if value is None or value.isdigit():
            return read(value, now, **options)
        until = parse_http_date(value)
        return None if until is None else max(now, until)

    read = retry_after.parse_retry_after
    return everywhere(read, parse_retry_after)


def facts_of_the_future_are_believed() -> Any:
    return everywhere(lifecycle.CLOCK_SLACK, timedelta(days=4000))


def minimum_interval_of_each_process_alone() -> Any:
    right = lifecycle.plan

    def plan(grant: Grant, *args: Any, **options: Any) -> Plan:
        return right(replace(grant, last_begun_at=None), *args, **options)

    return everywhere(right, plan)


def wake_is_not_noticed() -> Any:
    return replaced((WakeWatch, "look", lambda self: None), (WakeWatch, "mark", lambda self: None))


def a_new_network_overrides_retry_after() -> Any:
    right = lifecycle._retry_at

    def retry_at(
        run: FailureRun, now: datetime, policy: RefreshPolicy, woken_at: datetime | None
    ) -> datetime:
        if woken_at is not None and woken_at > run.begun_at:
            return now
        return right(run, now, policy, woken_at)

    return everywhere(right, retry_at)


def resent_with_a_wider_scope() -> Any:
    right = token_of.refresh_request

    def refresh_request(grant: Grant, refresh_token: Secret, **options: Any) -> HttpRequest:
        request = right(grant, refresh_token, **options)
        failed = grant.failures is not None
        return replace(request, body=request.body + b"&scope=read+write+admin" * failed)

    return everywhere(right, refresh_request)


def living_token_withheld_while_refresh_fails() -> Any:
    right = lifecycle.is_usable

    def is_usable(grant: Grant, *args: Any, **options: Any) -> bool:
        return grant.failures is None and right(grant, *args, **options)

    return everywhere(right, is_usable)


MUTANTS: Final = (
    Mutant("backoff ignored", backoff_ignored),
    Mutant("Retry-After ignored", retry_after_ignored),
    Mutant("minimum interval ignored", minimum_interval_ignored),
    Mutant("refreshed at half life", refreshed_at_half_life),
    Mutant("a lost answer is not asked for in time", lost_answer_not_asked_for_in_time),
    Mutant("a date of Retry-After is read as local time", date_read_as_local_time),
    Mutant("facts of the future are believed", facts_of_the_future_are_believed, CLOCKS),
    Mutant("each process has its own interval", minimum_interval_of_each_process_alone),
    Mutant("waking up is not noticed", wake_is_not_noticed, OUTAGES),
    Mutant("a new network overrides Retry-After", a_new_network_overrides_retry_after, OUTAGES),
    Mutant("resent with a wider scope", resent_with_a_wider_scope),
    Mutant("a living token is withheld", living_token_withheld_while_refresh_fails),
)
