"""A provider's token and revocation endpoints, for one grant at a time.

Law: presents and hands back, never retries and never decides; `token` says what it meant.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure, Secret
from mcpproxy.core.ports import Clock
from mcpproxy.core.provider_ports import HttpSender, RefreshOutcome
from mcpproxy.oauth.answer import pack, unpack
from mcpproxy.oauth.revocation import read_revocation, revocation_requests
from mcpproxy.oauth.token import classify, refresh_request

NOTHING_TO_PRESENT: Final = RefreshFailure(
    FailureKind.NOT_SENT, "the provider never issued a refresh token"
)
UNREADABLE: Final = RefreshFailure(FailureKind.UNKNOWN, "the stored answer cannot be read")


class TokenEndpoint:
    """`AuthorizationServer` over any `HttpSender`."""

    def __init__(self, sender: HttpSender, clock: Clock) -> None:
        self._sender = sender
        self._clock = clock

    async def present(
        self, grant: Grant, *, before_send: Callable[[], Awaitable[None]]
    ) -> Secret | RefreshFailure:
        """Send the refresh token once; the answer comes back unread."""
        refresh_token = grant.tokens.refresh_token
        if refresh_token is None:
            return NOTHING_TO_PRESENT
        request = refresh_request(grant, refresh_token)
        reply = await self._sender.exchange(request, before_send=before_send)
        match reply:
            case HttpReply():
                return pack(reply, self._clock.now())
            case NoReply(failure):
                return failure

    def read(self, grant: Grant, answer: Secret, now: datetime) -> RefreshOutcome:
        """What a stored answer means. Never raises."""
        unpacked = unpack(answer)
        return UNREADABLE if unpacked is None else classify(grant, unpacked, now)

    async def revoke(self, grant: Grant) -> str | None:
        """RFC 7009, refresh token first, then the access token. None: done, or nothing to do."""
        trouble: str | None = None
        for request in revocation_requests(grant):
            reply = await self._sender.exchange(request)
            trouble = trouble or read_revocation(reply)
            if isinstance(reply, NoReply):
                break  # the person who logs out does not wait for a second deadline
        return trouble
