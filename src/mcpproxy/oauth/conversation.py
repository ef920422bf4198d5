"""A login from the server's URL to a grant: discovery, registration, authorization, code.

Law: the generators decide, this drives them over a sender; what a later refresh needs is written
into the pending login and from there into the grant, so that nothing need be found again.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.errors import DiscoveryFailed, LoginDenied, LoginError, StoreError
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import (
    ClientRegistration,
    Grant,
    OAuthConfig,
    PendingLogin,
    RefreshFailure,
    RegistrationSource,
    Secret,
    TokenSet,
    Upstream,
)
from mcpproxy.core.ports import Clock, Store
from mcpproxy.core.provider_ports import HttpSender
from mcpproxy.oauth.answer import pack, unpack
from mcpproxy.oauth.authorization import (
    CLIENT_REFUSED,
    AuthorizationRequest,
    authorization_url,
    choose_scope,
    read_redirect,
    refuses_client,
)
from mcpproxy.oauth.discovery import Discovered, ServerMetadata, discover
from mcpproxy.oauth.refusals import ErrorWord, Meaning
from mcpproxy.oauth.registration import configured_client, is_usable, register
from mcpproxy.oauth.steps import drive
from mcpproxy.oauth.token import code_request, displayable, read_tokens

LOGIN_TIME: Final = timedelta(minutes=10)
"""How long a person may take; SECURITY's bound on a state."""

DOUBT_AFTER: Final = timedelta(minutes=2)
"""A provider that forgot our client shows its error to the person, not to us. So a registration
whose login was begun this long ago and never came back is made anew at the next one."""

VERIFIER_BYTES: Final = 48
STATE_BYTES: Final = 32
FLOW_ID_BYTES: Final = 12

AGAIN: Final = "Start the login again with `mcpproxy auth login {server}`."


class Conversation:
    """`LoginConversation` over any `HttpSender`; registrations are kept in the store."""

    def __init__(
        self,
        sender: HttpSender,
        store: Store,
        clock: Clock,
        *,
        token_urlsafe: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        self._sender = sender
        self._store = store
        self._clock = clock
        self._token_urlsafe = token_urlsafe
        self._refused: set[tuple[str, str]] = set()
        self._begun: dict[tuple[str, str], datetime] = {}

    async def prepare(
        self, upstream: Upstream, redirect_uri: str, *, challenge: str | None = None
    ) -> PendingLogin:
        """See the port."""
        if upstream.url is None:
            raise DiscoveryFailed(
                f"{upstream.name} is a local command and has no login.",
                next_step="Only servers with a URL can ask for one.",
            )
        config = upstream.oauth or OAuthConfig()
        found = await drive(discover(upstream.url, challenge), self._sender)
        scope = choose_scope(config.scopes, found)
        client = configured_client(config, found.server, redirect_uri)
        if client is None:
            client = await self._registered(upstream, found.server, redirect_uri, scope)
        return self._pending(upstream.name, upstream.url, config, found, client, scope)

    def read_redirect(self, login: PendingLogin, redirect: str) -> str:
        """See the port."""
        if refuses_client(redirect):
            self._refused.add(_key(login.client))
        self._begun.pop(_key(login.client), None)
        return read_redirect(login, redirect)

    async def present_code(self, login: PendingLogin, code: str) -> Secret:
        """See the port."""
        reply = await self._sender.exchange(code_request(login, code))
        match reply:
            case HttpReply():
                return pack(reply, self._clock.now())
            case NoReply(failure):
                raise LoginError(
                    f"{login.issuer} did not answer when the login was to be completed: "
                    f"{failure.detail}.",
                    next_step=AGAIN.format(server=login.server),
                )

    def read_code_answer(self, login: PendingLogin, answer: Secret, now: datetime) -> Grant:
        """See the port."""
        unpacked = unpack(answer)
        if unpacked is None:
            raise self._failed(login, "the stored answer cannot be read")
        received_at = min(unpacked.received_at or now, now)
        read = read_tokens(unpacked.reply, received_at)
        match read:
            case TokenSet():
                return _grant(login, read)
            case ErrorWord():
                raise self._refusal(login, read)
            case RefreshFailure(detail=detail):
                raise self._failed(login, detail)

    async def _registered(
        self, upstream: Upstream, server: ServerMetadata, redirect_uri: str, scope: str | None
    ) -> ClientRegistration:
        """Remembered by issuer and redirect URI, or made now."""
        now = self._clock.now()
        stored = await self._store.load_registration(server.issuer, redirect_uri)
        if (
            stored is not None
            and is_usable(stored, now)
            and not self._is_doubtful(stored, now)
            and not await self._is_refused(upstream.name, stored)
        ):
            self._begun.setdefault(_key(stored), now)
            return stored
        steps = register(server, redirect_uri, scope, upstream.url or server.issuer)
        made = await drive(steps, self._sender)
        await self._store.save_registration(made)
        self._refused.discard(_key(made))
        self._begun[_key(made)] = now
        return made

    async def _is_refused(self, server: str, registration: ClientRegistration) -> bool:
        """Whether a refresh learned what a login is not told: that the provider forgot us."""
        with suppress(StoreError):  # a grant that cannot be opened is what a login replaces
            grant = await self._store.load_grant(server)
            if grant is not None and grant.refusals is not None:
                refused = grant.refusals.failure.code in CLIENT_REFUSED
                return refused and grant.client == registration
        return False

    def _is_doubtful(self, registration: ClientRegistration, now: datetime) -> bool:
        key = _key(registration)
        begun_at = self._begun.get(key)
        return key in self._refused or (begun_at is not None and now - begun_at > DOUBT_AFTER)

    def _pending(
        self,
        server: str,
        server_url: str,
        config: OAuthConfig,
        found: Discovered,
        client: ClientRegistration,
        scope: str | None,
    ) -> PendingLogin:
        now = self._clock.now()
        request = AuthorizationRequest(
            endpoint=found.server.authorization_endpoint or "",
            client_id=client.client_id,
            redirect_uri=client.redirect_uri,
            state=Secret(self._token_urlsafe(STATE_BYTES)),
            code_verifier=Secret(self._token_urlsafe(VERIFIER_BYTES)),
            resource=config.extra_params.get("resource") or found.resource,
            scope=scope,
            extra=config.extra_params,
        )
        return PendingLogin(
            flow_id=self._token_urlsafe(FLOW_ID_BYTES),
            server=server,
            server_url=server_url,
            state=request.state,
            code_verifier=request.code_verifier,
            issuer=found.server.issuer,
            token_endpoint=found.server.token_endpoint,
            client=client,
            authorization_url=authorization_url(request),
            redirect_uri=client.redirect_uri,
            created_at=now,
            expires_at=now + LOGIN_TIME,
            iss_required=found.server.sends_iss,
            resource=request.resource,
            scope=scope,
            revocation_endpoint=found.server.revocation_endpoint,
        )

    def _refusal(self, login: PendingLogin, word: ErrorWord) -> LoginError:
        if word.meaning is Meaning.CLIENT:
            self._refused.add(_key(login.client))
        secrets_sent = (login.code_verifier, login.client.client_secret)
        text = displayable(f"{word.said}: {word.description}", without=secrets_sent).strip(": ")
        if word.said == "access_denied":
            return LoginDenied(
                f"{login.issuer} says no: {text}.",
                next_step=AGAIN.format(server=login.server),
            )
        if word.meaning is Meaning.CLIENT and _is_ours(login.client):
            return LoginError(
                f"{login.issuer} no longer knows our client: {text}.",
                next_step="Start the login again: a new client will be registered.",
            )
        return self._failed(login, text)

    def _failed(self, login: PendingLogin, text: str) -> LoginError:
        return LoginError(
            f"{login.issuer} did not complete the login: {text}.",
            next_step=AGAIN.format(server=login.server),
        )


def _grant(login: PendingLogin, tokens: TokenSet) -> Grant:
    """All that a refresh needs, written down once (RFC 6749: no scope means the one asked for)."""
    return Grant(
        server=login.server,
        server_url=login.server_url,
        issuer=login.issuer,
        token_endpoint=login.token_endpoint,
        client=login.client,
        tokens=tokens,
        logged_in_at=tokens.issued_at,
        login_id=login.flow_id,
        resource=login.resource,
        scope=login.scope,
        revocation_endpoint=login.revocation_endpoint,
    )


def _key(client: ClientRegistration) -> tuple[str, str]:
    return client.issuer, client.redirect_uri


def _is_ours(client: ClientRegistration) -> bool:
    return client.source is RegistrationSource.DYNAMIC
