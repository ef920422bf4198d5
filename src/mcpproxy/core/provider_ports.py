"""What custody needs of the provider's side, as protocols that the room `oauth` fills in.

Law: these know a grant and raw answers; nothing here decides what is due or stores anything.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import (
    ClientRegistration,
    Grant,
    RefreshFailure,
    Secret,
    TokenSet,
    Upstream,
    Variant,
)
from mcpproxy.core.pending_login import PendingLogin


class HttpSender(Protocol):
    """One HTTP exchange for OAuth: a fresh connection, no redirects, no retry, bounded size."""

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> HttpReply | NoReply:
        """Connect, finish TLS, await `before_send`, send, read.

        NoReply(NOT_SENT) when nothing of the request can have left (also when `before_send`
        raises StoreError: then that error is raised instead); NoReply(UNKNOWN) afterwards.
        """


@dataclass(frozen=True, slots=True)
class Issued:
    """The answer held a token set."""

    tokens: TokenSet


@dataclass(frozen=True, slots=True)
class OtherVariant:
    """The provider wants the request in another form; the grant is untouched."""

    variant: Variant


RefreshOutcome = Issued | OtherVariant | RefreshFailure


class AuthorizationServer(Protocol):
    """The provider's token endpoint, for one refresh at a time."""

    async def present(
        self, grant: Grant, *, before_send: Callable[[], Awaitable[None]]
    ) -> Secret | RefreshFailure:
        """Present the refresh token. The whole answer (status, headers that matter, body) comes
        back as one opaque Secret, to be stored before it is read; or a failure without answer.
        """

    def read(self, grant: Grant, answer: Secret, now: datetime) -> RefreshOutcome:
        """Understand a stored answer: the one place that classifies. Pure, lenient."""

    async def revoke(self, grant: Grant) -> str | None:
        """RFC 7009, refresh token first. None: done, or nothing to do; else what went wrong."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where an issuer says now that it is to be talked to."""

    token_endpoint: str
    revocation_endpoint: str | None


class ProviderRepair(Protocol):
    """Mends what is around a grant when the provider no longer takes it; the grant is untouched."""

    async def renew_client(self, grant: Grant) -> ClientRegistration | None:
        """A registration in the place of the grant's: the same one read or updated where the
        provider offers that (RFC 7592), else a new one (RFC 7591), stored for later logins too.
        None: not possible, or nothing new. Never raises for the provider's trouble.
        """

    async def locate(self, grant: Grant) -> Endpoints | None:
        """What the grant's own issuer names as its endpoints now; None when it cannot be asked,
        or when who answers calls itself by another name: a token is never sent there.
        """


@dataclass(frozen=True, slots=True)
class DeviceWait:
    """Nothing yet: ask again after `pause`; from then on every `interval`."""

    pause: timedelta
    interval: timedelta


class LoginConversation(Protocol):
    """Discovery, registration, authorization and code exchange for one upstream."""

    async def prepare(
        self, upstream: Upstream, redirect_uri: str, *, challenge: str | None = None
    ) -> PendingLogin:
        """Everything up to the URL for the browser. `challenge` is the upstream's last
        WWW-Authenticate header. Raises DiscoveryFailed or RegistrationFailed.
        """

    async def prepare_device(
        self, upstream: Upstream, redirect_uri: str, *, challenge: str | None = None
    ) -> PendingLogin:
        """As `prepare`, for a login at another device (RFC 8628): the code to be typed in there
        is in its `device`. `redirect_uri` is the one our client is registered with.
        """

    async def poll_device(self, login: PendingLogin) -> Secret | DeviceWait:
        """Ask once whether the person is done. A yes or a no comes back raw, to be stored before
        `read_code_answer` reads it.
        """

    async def seed(self, upstream: Upstream, *, challenge: str | None = None) -> Grant:
        """A grant that stands for the configured client credentials: its access token is empty
        and dead, so that the first refresh brings one. Raises DiscoveryFailed, LoginError.
        """

    def read_redirect(self, login: PendingLogin, redirect: str) -> str:
        """The code in a redirect URL whose state was already matched. Raises LoginDenied when it
        says no, LoginError when it is not an answer to this login (RFC 9207, on errors too).
        """

    async def present_code(self, login: PendingLogin, code: str) -> Secret:
        """Send the code; the raw answer comes back unread. Raises LoginError without answer."""

    def read_code_answer(self, login: PendingLogin, answer: Secret, now: datetime) -> Grant:
        """The grant that a stored answer makes. Raises LoginDenied or LoginError."""
