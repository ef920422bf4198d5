"""Mends what is around a grant: our client at its provider, and where the provider's endpoints are.

Law: only at the grant's own issuer, under its exact name; a client that works is never given up
for another, since a refresh token belongs to the client that it was issued to.
"""

from contextlib import suppress
from datetime import datetime

from mcpproxy.core.errors import LoginError, StoreError
from mcpproxy.core.http import HttpRequest, NoReply
from mcpproxy.core.lifecycle import CLIENT_ERRORS
from mcpproxy.core.model import ClientRegistration, Grant, GrantType, RegistrationSource
from mcpproxy.core.ports import Clock, Store
from mcpproxy.core.provider_ports import Endpoints, HttpSender
from mcpproxy.oauth.discovery import ServerMetadata, issuer_metadata, legacy_metadata
from mcpproxy.oauth.endpoints import origin_of
from mcpproxy.oauth.management import Unmanaged, read_registration
from mcpproxy.oauth.registration import is_usable, register
from mcpproxy.oauth.steps import Redirects, Steps, drive

ANY_WAY = GrantType.CLIENT_CREDENTIALS
"""To refresh, or to register, no endpoint of a way in is needed."""


class Repairs:
    """`ProviderRepair` over any `HttpSender`."""

    def __init__(self, sender: HttpSender, store: Store, clock: Clock) -> None:
        self._sender = sender
        self._store = store
        self._clock = clock

    async def renew_client(self, grant: Grant) -> ClientRegistration | None:
        """See the port. What another login made known meanwhile counts first."""
        client, now = grant.client, self._clock.now()
        if client.source is not RegistrationSource.DYNAMIC:
            return None
        stored = await self._stored(client)
        same = stored is None or stored.client_id == client.client_id
        newer = stored is not None and stored != client and is_usable(stored, now)
        if newer and (same or _is_lost(grant, now)):
            return stored
        try:
            renewed = await drive(_renewed(grant, now), self._sender)
        except LoginError:
            return None
        if renewed is None or renewed == client:
            return None
        if same:
            with suppress(StoreError):  # the grant keeps it too
                await self._store.save_registration(renewed)
        return renewed

    async def locate(self, grant: Grant) -> Endpoints | None:
        """See the port."""
        try:
            return await drive(_moved(grant), self._sender)
        except LoginError:
            return None

    async def _stored(self, client: ClientRegistration) -> ClientRegistration | None:
        with suppress(StoreError):
            return await self._store.load_registration(client.issuer, client.redirect_uri)
        return None


def _is_lost(grant: Grant, now: datetime) -> bool:
    """Whether the provider takes this client no more: it said so, or its secret is over."""
    refused = grant.refusals is not None and grant.refusals.failure.code in CLIENT_ERRORS
    expires_at = grant.client.secret_expires_at
    return refused or (expires_at is not None and now >= expires_at)


def _renewed(grant: Grant, now: datetime) -> Steps[ClientRegistration | None]:
    """The same client renewed; another one only when this one is lost, and nobody says that it is
    well.
    """
    client, server_url = grant.client, grant.server_url
    managed = yield from read_registration(client, server_url, now)
    if isinstance(managed, ClientRegistration) and is_usable(managed, now):
        return managed
    if not _is_lost(grant, now) or (managed is Unmanaged.UNKNOWN and client.registration_uri):
        return None
    server = yield from _own_metadata(grant)
    if server is None:
        return None
    device = grant.grant_type is GrantType.DEVICE_CODE
    way = GrantType.DEVICE_CODE if device else GrantType.AUTHORIZATION_CODE
    made = yield from register(server, client.redirect_uri, grant.scope, server_url, way)
    return made


def _moved(grant: Grant) -> Steps[Endpoints | None]:
    """The endpoints that the issuer names, if they are others than we know."""
    server = yield from _own_metadata(grant)
    if server is None or server.token_endpoint == grant.token_endpoint:
        return None
    # Refreshes go where they were vetted to go: so this URL is reached once, on behalf of the
    # configured server and without a secret, before a token is ever sent to it.
    reply = yield HttpRequest("GET", server.token_endpoint, on_behalf_of=grant.server_url)
    if isinstance(reply, NoReply):
        return None
    return Endpoints(server.token_endpoint, server.revocation_endpoint)


def _own_metadata(grant: Grant) -> Steps[ServerMetadata | None]:
    """What the grant's issuer says of itself now, at its own origin and by its own name."""
    found = yield from issuer_metadata(
        grant.issuer, grant.server_url, ANY_WAY, Redirects.WITHIN_ORIGIN
    )
    legacy = legacy_metadata(origin_of(grant.issuer))
    if found is None and legacy.token_endpoint == grant.token_endpoint:
        return legacy
    return found if found is not None and found.issuer == grant.issuer else None
