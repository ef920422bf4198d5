"""A login from the server's URL to a grant: discovery, registration, authorization, code; or a
code typed in at another device; or the client's own credentials.

Law: the generators decide, this drives them over a sender; what a later refresh needs is written
into the pending login and from there into the grant, so that nothing need be found again.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.challenge import bearer_challenge
from mcpproxy.core.errors import DiscoveryFailed, LoginDenied, LoginError, LoginTimedOut
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.core.model import (
    AuthMethod,
    ClientRegistration,
    Grant,
    GrantType,
    OAuthConfig,
    RefreshFailure,
    RegistrationSource,
    Secret,
    TokenSet,
    Upstream,
)
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.ports import Clock, Store
from mcpproxy.core.provider_ports import DeviceWait, HttpSender
from mcpproxy.oauth.answer import pack, unpack
from mcpproxy.oauth.assertion import Assertions, KeyUnusable
from mcpproxy.oauth.authorization import (
    AuthorizationRequest,
    authorization_url,
    choose_scope,
    read_redirect,
    refuses_client,
)
from mcpproxy.oauth.clients import Clients
from mcpproxy.oauth.device import (
    Begun,
    device_request,
    is_about_resource,
    poll_request,
    read_device,
    read_poll,
    refused,
)
from mcpproxy.oauth.discovery import Discovered, discover
from mcpproxy.oauth.endpoints import same_issuer
from mcpproxy.oauth.refusals import ErrorWord, Meaning
from mcpproxy.oauth.registration import configured_client
from mcpproxy.oauth.steps import drive
from mcpproxy.oauth.token import code_request, displayable, read_tokens

LOGIN_TIME: Final = timedelta(minutes=10)
"""How long a person may take; SECURITY's bound on a state."""

VERIFIER_BYTES: Final = 48
STATE_BYTES: Final = 32
FLOW_ID_BYTES: Final = 12

NO_REDIRECT: Final = ""
"""Client credentials never come back from a browser."""

DENIALS: Final = frozenset({"access_denied", "authorization_declined"})
"""The second is Microsoft's."""

AGAIN: Final = "Start the login again with `mcpproxy auth login {server}`."


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every way to a token begins with: where it is to be asked for, and for what."""

    upstream: Upstream
    url: str
    config: OAuthConfig
    found: Discovered
    scope: str | None
    way: GrantType

    @property
    def resource(self) -> str | None:
        return self.config.extra_params.get("resource") or self.found.resource


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
        self._clients = Clients(sender, store, clock)
        self._assertions = Assertions(clock, token_urlsafe=token_urlsafe)

    async def prepare(
        self, upstream: Upstream, redirect_uri: str, *, challenge: str | None = None
    ) -> PendingLogin:
        """See the port."""
        ground = await self._ground(upstream, challenge, GrantType.AUTHORIZATION_CODE)
        client = await self._client(ground, redirect_uri)
        return self._pending(ground, client)

    async def prepare_device(
        self, upstream: Upstream, redirect_uri: str, *, challenge: str | None = None
    ) -> PendingLogin:
        """See the port."""
        ground = await self._ground(upstream, challenge, GrantType.DEVICE_CODE)
        client = await self._client(ground, redirect_uri)
        resource = ground.resource
        begun = await self._begin_device(ground, client, resource)
        if resource is not None and is_about_resource(begun):
            resource = None
            begun = await self._begin_device(ground, client, resource)
        if not isinstance(begun, Begun):
            if begun is not None and begun.meaning is Meaning.CLIENT:
                self._clients.refused(client)
            raise refused(client.issuer, begun, upstream.name)
        self._clients.heard_of(client)
        device = begun.device
        return replace(
            self._pending(ground, client),
            authorization_url=device.verification_uri_complete or device.verification_uri,
            expires_at=begun.expires_at,
            resource=resource,
            device=device,
        )

    async def poll_device(self, login: PendingLogin) -> Secret | DeviceWait:
        """See the port."""
        device = login.device
        if device is None:
            raise AssertionError("this login is not at another device")
        with _signing(login.server):
            proof = self._assertions.prove(login.client, login.token_endpoint)
        reply = await self._sender.exchange(poll_request(login, device, proof))
        now = self._clock.now()
        wait = read_poll(reply, device.interval, now)
        if isinstance(reply, HttpReply) and wait is None:
            return pack(reply, now)
        return wait or DeviceWait(device.interval, device.interval)

    async def seed(self, upstream: Upstream, *, challenge: str | None = None) -> Grant:
        """See the port."""
        ground = await self._ground(upstream, challenge, GrantType.CLIENT_CREDENTIALS)
        client = configured_client(ground.config, ground.found.server, NO_REDIRECT)
        if client is None or client.auth_method is AuthMethod.NONE:
            raise LoginError(
                f"'{upstream.name}' has no client credentials.",
                next_step="Set `oauth.client_id` and `oauth.client_secret` or "
                "`oauth.private_key` for it in the configuration.",
            )
        now, server = self._clock.now(), ground.found.server
        with _signing(upstream.name):
            self._assertions.prove(client, server.token_endpoint)
        return Grant(
            server=upstream.name,
            server_url=ground.url,
            issuer=server.issuer,
            token_endpoint=server.token_endpoint,
            client=client,
            tokens=TokenSet(Secret(""), None, issued_at=now, expires_at=now),
            logged_in_at=now,
            login_id=self._token_urlsafe(FLOW_ID_BYTES),
            resource=ground.resource,
            scope=ground.scope,
            revocation_endpoint=server.revocation_endpoint,
            grant_type=GrantType.CLIENT_CREDENTIALS,
        )

    def read_redirect(self, login: PendingLogin, redirect: str) -> str:
        """See the port."""
        if refuses_client(redirect):
            self._clients.refused(login.client)
        self._clients.heard_of(login.client)
        return read_redirect(login, redirect)

    async def present_code(self, login: PendingLogin, code: str) -> Secret:
        """See the port."""
        with _signing(login.server):
            proof = self._assertions.prove(login.client, login.token_endpoint)
        reply = await self._sender.exchange(code_request(login, code, proof=proof))
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

    async def _ground(self, upstream: Upstream, challenge: str | None, way: GrantType) -> "_Ground":
        if upstream.url is None:
            raise DiscoveryFailed(
                f"{upstream.name} is a local command and has no login.",
                next_step="Only servers with a URL can ask for one.",
            )
        config = upstream.oauth or OAuthConfig()
        found = await drive(discover(upstream.url, challenge, way), self._sender)
        named = found.server.issuer
        if config.issuer is not None and not same_issuer(named, config.issuer):
            raise DiscoveryFailed(
                f"{upstream.name} names {displayable(named)} as its provider, not {config.issuer}.",
                next_step="Nothing was sent there. If it is right, change `oauth.issuer`.",
            )
        if way is GrantType.CLIENT_CREDENTIALS:
            scope = " ".join(config.scopes or found.scopes) or None
        else:
            held = await self._held_scopes(upstream.name, challenge, named)
            wider = replace(found, scopes=(*held, *found.scopes))
            scope = choose_scope(() if held else config.scopes, wider)
        return _Ground(upstream, upstream.url, config, found, scope, way)

    async def _held_scopes(self, server: str, header: str | None, issuer: str) -> tuple[str, ...]:
        """The scopes of a login that turned out too narrow: a wider one must not lose them."""
        challenge = bearer_challenge(header)
        if challenge is None or challenge.error != "insufficient_scope":
            return ()
        grant = await self._store.load_grant(server)
        if grant is None or grant.issuer != issuer:
            return ()
        return (*(grant.scope or "").split(), *(grant.tokens.scope or "").split())

    async def _client(self, ground: "_Ground", redirect_uri: str) -> ClientRegistration:
        client = configured_client(ground.config, ground.found.server, redirect_uri)
        if client is not None:
            return client
        return await self._clients.registered(
            ground.upstream, ground.found.server, redirect_uri, ground.scope, ground.way
        )

    async def _begin_device(
        self, ground: "_Ground", client: ClientRegistration, resource: str | None
    ) -> Begun | ErrorWord | None:
        endpoint = ground.found.server.device_endpoint or ""
        asked = {"scope": ground.scope, "resource": resource}
        with _signing(ground.upstream.name):
            proof = self._assertions.prove(client, endpoint)
        request = device_request(
            endpoint,
            client,
            {name: value for name, value in asked.items() if value},
            extra=ground.config.extra_params,
            proof=proof,
            server_url=ground.url,
        )
        reply = await self._sender.exchange(request)
        if isinstance(reply, NoReply):
            raise LoginError(
                f"{client.issuer} did not answer: {reply.failure.detail}.",
                next_step="Try again in a while; nothing was changed.",
            )
        return read_device(reply, ground.url, self._clock.now())

    def _pending(self, ground: "_Ground", client: ClientRegistration) -> PendingLogin:
        now, server = self._clock.now(), ground.found.server
        request = AuthorizationRequest(
            endpoint=server.authorization_endpoint or "",
            client_id=client.client_id,
            redirect_uri=client.redirect_uri,
            state=Secret(self._token_urlsafe(STATE_BYTES)),
            code_verifier=Secret(self._token_urlsafe(VERIFIER_BYTES)),
            resource=ground.resource,
            scope=ground.scope,
            extra=ground.config.extra_params,
        )
        return PendingLogin(
            flow_id=self._token_urlsafe(FLOW_ID_BYTES),
            server=ground.upstream.name,
            server_url=ground.url,
            state=request.state,
            code_verifier=request.code_verifier,
            issuer=server.issuer,
            token_endpoint=server.token_endpoint,
            client=client,
            authorization_url=authorization_url(request),
            redirect_uri=client.redirect_uri,
            created_at=now,
            expires_at=now + LOGIN_TIME,
            iss_required=server.sends_iss,
            resource=request.resource,
            scope=ground.scope,
            revocation_endpoint=server.revocation_endpoint,
        )

    def _refusal(self, login: PendingLogin, word: ErrorWord) -> LoginError:
        if word.meaning is Meaning.CLIENT:
            self._clients.refused(login.client)
        device = login.device.device_code if login.device else None
        secrets_sent = (login.code_verifier, login.client.client_secret, device)
        text = displayable(f"{word.said}: {word.description}", without=secrets_sent).strip(": ")
        if login.device is not None and word.said == "expired_token":
            return LoginTimedOut(
                "Nobody typed the code in in time.", next_step=AGAIN.format(server=login.server)
            )
        if word.said in DENIALS:
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
        grant_type=GrantType.DEVICE_CODE if login.device else GrantType.AUTHORIZATION_CODE,
    )


@contextmanager
def _signing(server: str) -> Iterator[None]:
    """A key that cannot sign is the configuration's trouble."""
    try:
        yield
    except KeyUnusable as error:
        raise LoginError(
            f"The client of '{server}' cannot prove itself: {error}.",
            next_step="Set `oauth.private_key` (or `private_key_file`) right in the configuration.",
        ) from None


def _is_ours(client: ClientRegistration) -> bool:
    return client.source is RegistrationSource.DYNAMIC
