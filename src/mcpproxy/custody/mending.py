"""Mends what is around a grant - our client, the provider's address - before it is tried again.

Law: written before it is begun, so that a crash cannot make it happen twice; what it brings is
stored only on the facts it was begun on.
"""

from typing import assert_never

from mcpproxy.core.events import ClientRenewed, EndpointMoved, GrantEvent, RepairBegan
from mcpproxy.core.model import Grant
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
    event = await _find(begun, repair, with_)
    return begun if event is None else await journal.try_append(begun, event)


async def _find(grant: Grant, repair: Repair, with_: ProviderRepair) -> GrantEvent | None:
    match repair:
        case Repair.CLIENT:
            client = await with_.renew_client(grant)
            return None if client is None else ClientRenewed(client)
        case Repair.ENDPOINT:
            found = await with_.locate(grant)
            if found is None or found.token_endpoint == grant.token_endpoint:
                return None
            return EndpointMoved(found.token_endpoint, found.revocation_endpoint)
        case _:
            assert_never(repair)
