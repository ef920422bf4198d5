"""A logout: what the provider still honours is given back, what is here is erased.

Law: it happens between two refreshes, never during one: the tokens that a refresh in flight would
bring are given back too, instead of living on where nobody knows of them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from mcpproxy.core.errors import StoreError
from mcpproxy.core.ledger import LedgerLine, logout_line
from mcpproxy.core.model import Grant
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.core.ports import Clock, Lease, LeaseHold, Store
from mcpproxy.core.provider_ports import AuthorizationServer, Issued

ASK_AGAIN: Final = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class LogoutTools:
    """What a logout works with."""

    store: Store
    lease: Lease
    provider: AuthorizationServer
    clock: Clock
    policy: RefreshPolicy


@dataclass(frozen=True, slots=True)
class LoggedOff:
    """There was a grant and it is gone; `complaint` is what the provider said against it, `line`
    what the ledger says of it.
    """

    complaint: str | None
    line: LedgerLine


async def log_out(server: str, tools: LogoutTools) -> LoggedOff | None:
    """Revoke and forget; None when there was nothing. Raises StoreError."""
    hold = await _between_refreshes(server, tools)
    try:
        grant = await tools.store.load_grant(server)
        if grant is None:
            return None
        complaint = await _give_back(grant, tools)
        line = logout_line(grant, tools.clock.now(), complaint)
        await tools.store.forget_grant(server, line=line)
        return LoggedOff(complaint, line)
    finally:
        if hold is not None:
            with suppress(StoreError):  # it runs out by itself
                await tools.lease.release(hold)


async def _between_refreshes(server: str, tools: LogoutTools) -> LeaseHold | None:
    """The lease that refreshes are made under, once none is in flight. None when its holder does
    not give it back in the time that a refresh may take: a logout is not refused for that.
    """
    clock, policy = tools.clock, tools.policy
    until = clock.elapsed() + policy.connect_timeout + policy.answer_timeout
    while True:
        hold = await tools.lease.acquire(f"grant:{server}", policy.lease_ttl)
        if hold is not None or clock.elapsed() >= until:
            return hold
        await asyncio.sleep(ASK_AGAIN.total_seconds())


async def _give_back(grant: Grant, tools: LogoutTools) -> str | None:
    """Every token that may live, the current ones first; no longer than the lease holds."""
    complaint: str | None = None
    try:
        async with asyncio.timeout(tools.policy.lease_ttl.total_seconds()):
            for each in _alive(grant, tools):
                complaint = await tools.provider.revoke(each) or complaint
    except TimeoutError:
        return "no answer in time"
    return complaint


def _alive(grant: Grant, tools: LogoutTools) -> Iterator[Grant]:
    """The grant once for each token set it holds: current, in an answer not yet read, spare."""
    yield grant
    attempt = grant.attempt
    if attempt is not None and attempt.answer is not None:
        read = tools.provider.read(grant, attempt.answer, tools.clock.now())
        if isinstance(read, Issued):
            yield replace(grant, tokens=read.tokens)
    for spare in grant.spares:
        yield replace(grant, tokens=spare)
