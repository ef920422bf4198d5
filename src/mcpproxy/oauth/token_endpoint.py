"""A provider's token and revocation endpoints, for one grant at a time.

Law: presents and hands back, never retries and never decides; `token` says what it meant.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, Grant, GrantType, RefreshFailure, Secret
from mcpproxy.core.ports import Clock
from mcpproxy.core.provider_ports import HttpSender, RefreshOutcome
from mcpproxy.oauth.answer import pack, unpack
from mcpproxy.oauth.assertion import Assertions, KeyUnusable
from mcpproxy.oauth.revocation import read_revocation, revocation_requests
from mcpproxy.oauth.token import classify, credentials_request, refresh_request

NOTHING_TO_PRESENT: Final = RefreshFailure(
    FailureKind.NOT_SENT, "the provider never issued a refresh token"
)
UNREADABLE: Final = RefreshFailure(FailureKind.UNKNOWN, "the stored answer cannot be read")


class TokenEndpoint:
    """`AuthorizationServer` over any `HttpSender`."""

    def __init__(self, sender: HttpSender, clock: Clock) -> None:
        self._sender = sender
        self._clock = clock
        self._assertions = Assertions(clock)

    async def present(
        self, grant: Grant, *, before_send: Callable[[], Awaitable[None]]
    ) -> Secret | RefreshFailure:
        """Send the refresh token (or what stands for it) once; the answer comes back unread."""
        try:
            request = self._request(grant)
        except KeyUnusable as error:
            return RefreshFailure(FailureKind.NOT_SENT, f"the request cannot be signed: {error}")
        if request is None:
            return NOTHING_TO_PRESENT
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
        try:
            requests = tuple(revocation_requests(grant, self._assertions.prove))
        except KeyUnusable as error:
            return f"the request cannot be signed: {error}"
        for request in requests:
            reply = await self._sender.exchange(request)
            trouble = trouble or read_revocation(reply)
            if isinstance(reply, NoReply):
                break  # the person who logs out does not wait for a second deadline
        return trouble

    def _request(self, grant: Grant) -> HttpRequest | None:
        """The form of this grant's kind; None when there is nothing to be presented."""
        proof = self._assertions.prove(grant.client, grant.token_endpoint)
        if grant.grant_type is GrantType.CLIENT_CREDENTIALS:
            return credentials_request(grant, proof=proof)
        refresh_token = grant.tokens.refresh_token
        return None if refresh_token is None else refresh_request(grant, refresh_token, proof=proof)
