"""Mistakes with what was received: read before stored, read wrongly, or thrown away."""

import asyncio
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from mcpproxy.core import evolution
from mcpproxy.core.events import AnswerArrived, GrantEvent, TokensIssued
from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure, Secret, TokenSet
from mcpproxy.core.ports import LeaseHold
from mcpproxy.core.provider_ports import Issued, RefreshOutcome
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import Refresh
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.custody.token_counter import TokenCounter
from mcpproxy.oauth import answer, body, refusals, token
from mcpproxy.oauth.answer import Answer
from tests.simulation.planting import Mutant, everywhere, manager_of, replaced
from tests.simulation.settings import FULL_DISKS, IMPATIENT, ODD, PAUSES, RESTARTS


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
            self._publish_success(evolution.evolve(grant, event), grant.attempt, timedelta(0))
        return await write(self, grant, event, writing)

    return replaced((Refresh, "_write", early))


def old_refresh_token_kept() -> Any:
    right = evolution._with_tokens

    def with_tokens(grant: Grant, tokens: TokenSet) -> Grant:
        return right(grant, replace(tokens, refresh_token=grant.tokens.refresh_token))

    return everywhere(right, with_tokens)


def missing_refresh_token_stored_as_none() -> Any:
    right = evolution._with_tokens

    def with_tokens(grant: Grant, tokens: TokenSet) -> Grant:
        evolved = right(grant, tokens)
        return replace(evolved, tokens=replace(evolved.tokens, refresh_token=tokens.refresh_token))

    return everywhere(right, with_tokens)


def store_given_up_when_full() -> Any:
    return replaced((Journal, "append_at_any_cost", Journal.append))


def a_caller_cancels_the_refresh() -> Any:
    right = TokenCounter._usable_token

    async def usable_token(self: RefreshManager, server: str, url: str) -> Secret:
        try:
            return await right(self, server, url)
        except asyncio.CancelledError:
            waited_for = self._entries.get(server)
            if waited_for is not None and waited_for.refresh is not None:
                waited_for.refresh.cancel()
            raise

    return replaced((TokenCounter, "_usable_token", usable_token))


def stop_does_not_wait() -> Any:
    async def stop(self: RefreshManager) -> None:
        if self._loop is not None:
            self._loop.cancel()

    return replaced((RefreshManager, "stop", stop))


def parsed_before_it_is_stored() -> Any:
    right = answer.pack

    def pack(reply: HttpReply, received_at: datetime) -> Secret:
        json.loads(reply.body)
        return right(reply, received_at)

    return everywhere(right, pack)


def life_counted_from_when_it_was_read() -> Any:
    right = token.classify

    def classify(grant: Grant, given: Answer, now: datetime) -> RefreshOutcome:
        return right(grant, replace(given, received_at=now), now)

    return everywhere(right, classify)


def half_a_token_is_taken() -> Any:
    lenient = re.compile(
        r'"(access_token|refresh_token|expires_in)"\s*:\s*(?:"([^"]*)(?:"|$)|(\d+))'
    )
    return everywhere(body.STRING_FIELD, lenient)


def form_encoded_answers_are_not_read() -> Any:
    return everywhere(body._form_fields, lambda text: None)


def of_duplicate_keys_the_first_counts() -> Any:
    return everywhere(body._last_usable, lambda pairs: dict(reversed(list(pairs))))


def no_life_is_no_time() -> Any:
    right = body.life_of

    def life_of(value: object) -> timedelta | None:
        return timedelta(0) if value in (None, 0) else right(value)

    return everywhere(right, life_of)


def error_inside_200_is_not_seen() -> Any:
    right = refusals.error_word

    def error_word(fields: Any, status: int) -> Any:
        return None if status == 200 else right(fields, status)

    return everywhere(right, error_word)


def gateway_timeout_taken_for_a_refusal() -> Any:
    right = token.read_tokens

    def read_tokens(reply: HttpReply, received_at: datetime) -> Any:
        if reply.status == 504:
            return RefreshFailure(FailureKind.REFUSED, "HTTP 504", status=504)
        return right(reply, received_at)

    return everywhere(right, read_tokens)


def firewall_page_taken_for_a_refusal() -> Any:
    right = token.read_tokens

    def read_tokens(reply: HttpReply, received_at: datetime) -> Any:
        if reply.status in (401, 403):
            return RefreshFailure(FailureKind.REFUSED, "HTTP 401", status=reply.status)
        return right(reply, received_at)

    return everywhere(right, read_tokens)


MUTANTS: Final = (
    Mutant("used before stored", used_before_stored, FULL_DISKS),
    Mutant("told before stored", told_before_stored),
    Mutant("old refresh token kept after rotation", old_refresh_token_kept),
    Mutant("a missing refresh_token stored as none", missing_refresh_token_stored_as_none),
    Mutant("an answer is given up when the disk is full", store_given_up_when_full, FULL_DISKS),
    Mutant("a caller's cancellation ends the refresh", a_caller_cancels_the_refresh, IMPATIENT),
    Mutant("stop does not wait", stop_does_not_wait, RESTARTS),
    Mutant("parsed before it is stored", parsed_before_it_is_stored, ODD),
    Mutant("life counted from when it was read", life_counted_from_when_it_was_read, PAUSES),
    Mutant("half a token is taken", half_a_token_is_taken),
    Mutant("form-encoded answers are not read", form_encoded_answers_are_not_read, ODD),
    Mutant("of duplicate keys the first counts", of_duplicate_keys_the_first_counts, ODD),
    Mutant("no life is no time", no_life_is_no_time, ODD),
    Mutant("an error inside 200 is not seen", error_inside_200_is_not_seen, ODD),
    Mutant("504 taken for a refusal", gateway_timeout_taken_for_a_refusal),
    Mutant("a firewall's page taken for a refusal", firewall_page_taken_for_a_refusal),
)
