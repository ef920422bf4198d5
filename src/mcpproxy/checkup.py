"""What `doctor` can only learn by asking: the vault's key, the providers, and what time they have.

Law: asks each provider once, sends no secret, and changes nothing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from mcpproxy.core.errors import StoreError
from mcpproxy.core.health import countdown
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import Grant
from mcpproxy.core.ports import Clock
from mcpproxy.core.provider_ports import HttpSender
from mcpproxy.web.doctor import Check, CheckState

MAX_SKEW: Final = timedelta(minutes=1)
"""A clock further off than this makes expiry times wrong enough to notice."""


def key_check(source: str, trouble: StoreError | None) -> Check:
    """Whether the stored logins can be opened. `source` is where the key is kept."""
    name = "key"
    if trouble is None:
        return Check(name=name, state=CheckState.OK, found=f"the vault's key is in the {source}")
    return Check(
        name=name, state=CheckState.FAIL, found=trouble.message, next_step=trouble.next_step
    )


async def provider_checks(
    grants: Iterable[Grant], sender: HttpSender, clock: Clock
) -> Sequence[Check]:
    """One check for every provider that a login is held at; all are asked at once."""
    issuers = sorted({grant.issuer for grant in grants})
    return await asyncio.gather(*(_ask(issuer, sender, clock) for issuer in issuers))


async def _ask(issuer: str, sender: HttpSender, clock: Clock) -> Check:
    name = f"provider {issuer}"
    reply = await sender.exchange(HttpRequest("GET", issuer))
    match reply:
        case NoReply(failure):
            return Check(
                name=name,
                state=CheckState.FAIL,
                found=f"it does not answer: {failure.detail}",
                next_step="Logins go on while their access tokens live; look at the network.",
            )
        case HttpReply():
            skew = _skew(reply, clock)
    if skew is None or skew < MAX_SKEW:
        return Check(name=name, state=CheckState.OK, found="it answers, and our clocks agree")
    return Check(
        name=name,
        state=CheckState.WARN,
        found=f"it answers, and its clock is {countdown(skew)} away from ours",
        next_step="Set the clock of this machine, or let it be set by the network.",
    )


def _skew(reply: HttpReply, clock: Clock) -> timedelta | None:
    """How far apart the clocks are; None when the answer carries no readable time."""
    try:
        theirs = parsedate_to_datetime(reply.headers["date"])
    except (KeyError, ValueError):
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    return abs(clock.now() - theirs)
