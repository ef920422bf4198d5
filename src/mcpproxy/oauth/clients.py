"""Our clients at the authorization servers: remembered, doubted when they may be forgotten there,
and made anew.

Law: a registration that may work is used again; one that a provider refused never is.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.errors import StoreError
from mcpproxy.core.model import ClientRegistration, GrantType, Upstream
from mcpproxy.core.ports import Clock, Store
from mcpproxy.core.provider_ports import HttpSender
from mcpproxy.oauth.authorization import CLIENT_REFUSED
from mcpproxy.oauth.discovery import ServerMetadata
from mcpproxy.oauth.registration import is_usable, register
from mcpproxy.oauth.steps import drive

DOUBT_AFTER: Final = timedelta(minutes=2)
"""A provider that forgot our client shows its error to the person, not to us. So a registration
whose login was begun this long ago and never came back is made anew at the next one."""


class Clients:
    """Registrations of our own making, kept in the store by issuer and redirect URI."""

    def __init__(self, sender: HttpSender, store: Store, clock: Clock) -> None:
        self._sender = sender
        self._store = store
        self._clock = clock
        self._refused: set[tuple[str, str]] = set()
        self._begun: dict[tuple[str, str], datetime] = {}

    async def registered(
        self,
        upstream: Upstream,
        server: ServerMetadata,
        redirect_uri: str,
        scope: str | None,
        way: GrantType,
    ) -> ClientRegistration:
        """Remembered, or made now. Raises RegistrationFailed."""
        now = self._clock.now()
        stored = await self._store.load_registration(server.issuer, redirect_uri)
        if (
            stored is not None
            and is_usable(stored, now, way)
            and not self._is_doubtful(stored, now)
            and not await self._is_refused(upstream.name, stored)
        ):
            self._begun.setdefault(_key(stored), now)
            return stored
        steps = register(server, redirect_uri, scope, upstream.url or server.issuer, way)
        made = await drive(steps, self._sender)
        await self._store.save_registration(made)
        self._refused.discard(_key(made))
        self._begun[_key(made)] = now
        return made

    def refused(self, client: ClientRegistration) -> None:
        """The provider said that it does not know this client."""
        self._refused.add(_key(client))

    def heard_of(self, client: ClientRegistration) -> None:
        """A login of this client came back: the provider does know it."""
        self._begun.pop(_key(client), None)

    def _is_doubtful(self, registration: ClientRegistration, now: datetime) -> bool:
        key = _key(registration)
        begun_at = self._begun.get(key)
        return key in self._refused or (begun_at is not None and now - begun_at > DOUBT_AFTER)

    async def _is_refused(self, server: str, registration: ClientRegistration) -> bool:
        """Whether a refresh learned what a login is not told: that the provider forgot us."""
        with suppress(StoreError):  # a grant that cannot be opened is what a login replaces
            grant = await self._store.load_grant(server)
            if grant is not None and grant.refusals is not None:
                refused = grant.refusals.failure.code in CLIENT_REFUSED
                return refused and grant.client == registration
        return False


def _key(client: ClientRegistration) -> tuple[str, str]:
    return client.issuer, client.redirect_uri
