"""Mends what is around a grant - our client, the provider's address - before it is tried again.

Law: written before it is begun, so that a crash cannot make it happen twice; what it brings is
stored whatever it takes, in the place of what it was made for and of nothing else.
"""

from dataclasses import replace
from typing import assert_never

from mcpproxy.core.events import ClientRenewed, EndpointMoved, GrantEvent, RepairBegan, RepairFailed
from mcpproxy.core.model import (
    AuthMethod,
    ClientRegistration,
    Grant,
    GrantType,
    RegistrationSource,
    Upstream,
)
from mcpproxy.core.ports import Clock
from mcpproxy.core.provider_ports import ProviderRepair
from mcpproxy.core.repair import Repair
from mcpproxy.custody.journal import Journal


async def mend(
    grant: Grant, repair: Repair, with_: ProviderRepair, journal: Journal, clock: Clock
) -> Grant | None:
    """The grant afterwards, mended or not; None: these facts are not the newest. Raises
    StoreError.
    """
    begun = await journal.try_append(grant, RepairBegan(clock.now()))
    if begun is None:
        return None
    event = await _find(begun, repair, with_) or RepairFailed()
    # What the provider gave exists nowhere else, and is good whatever happened meanwhile.
    return await journal.append_at_any_cost(begun, event)


def client_configured(grant: Grant, upstream: Upstream) -> ClientRegistration | None:
    """The grant's client with the secret or key that is configured for it now; None when there
    is nothing to change, or another client is configured: that one serves the next login.
    """
    config, client = upstream.oauth, grant.client
    if upstream.problem is not None:
        return None  # a reference that stands for nothing is no new secret
    if config is None or client.source is not RegistrationSource.CONFIGURED:
        return None
    if config.client_id != client.client_id or grant.grant_type is GrantType.CLIENT_CREDENTIALS:
        return None
    signs, secret = config.private_key is not None, config.client_secret
    by_secret = client.auth_method in (AuthMethod.SECRET_BASIC, AuthMethod.SECRET_POST)
    if signs:
        method = AuthMethod.PRIVATE_KEY_JWT
    elif secret is None:
        method = AuthMethod.NONE
    else:
        method = client.auth_method if by_secret else AuthMethod.SECRET_BASIC
    changed = replace(
        client,
        auth_method=method,
        client_secret=None if signs else secret,
        private_key=config.private_key,
        key_id=config.key_id,
        signing_alg=config.signing_alg,
        assertion_audience=config.assertion_audience,
    )
    return None if changed == client else changed


async def _find(grant: Grant, repair: Repair, with_: ProviderRepair) -> GrantEvent | None:
    match repair:
        case Repair.CLIENT:
            client = await with_.renew_client(grant)
            return None if client is None else ClientRenewed(client, grant.client)
        case Repair.ENDPOINT:
            found = await with_.locate(grant)
            if found is None or found.token_endpoint == grant.token_endpoint:
                return None
            return EndpointMoved(
                grant.token_endpoint, found.token_endpoint, found.revocation_endpoint
            )
        case _:
            assert_never(repair)
