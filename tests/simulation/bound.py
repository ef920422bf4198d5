"""The store and the lease of one process, behind boundaries: here it dies, here the disk fails.

Law: what a store may do to its callers stands here once, whichever engine is behind.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from mcpproxy.core.errors import StoreError, StoreUnavailable
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import ClientRegistration, Grant
from mcpproxy.core.ports import Lease, LeaseHold, Store
from tests.simulation.faults import ALL, Fault

if TYPE_CHECKING:
    from tests.simulation.process import Process


class BoundStore:
    """The engine behind boundaries: stale reads, writes that fail, death before and after.

    Only what custody uses of the port Store.
    """

    def __init__(self, process: "Process", store: Store) -> None:
        self._process = process
        self._store = store

    async def load_grant(self, server: str) -> Grant | None:
        process, world = self._process, self._process.world
        await process.boundary(server, "before load")
        world.disk.require_key()
        older = world.lagging(server)
        stale = older is not None and world.faults.stale()
        grant = older if stale else await self._store.load_grant(server)
        await process.boundary(server, "after load")
        return grant

    async def load_grants(self) -> Sequence[Grant]:
        await self._process.boundary(ALL, "before load all")
        self._process.world.disk.require_key()
        return await self._store.load_grants()

    async def stamp(self) -> int:
        return await self._store.stamp()

    def damaged(self) -> Mapping[str, StoreError]:
        return self._store.damaged()

    async def save_grant(
        self, grant: Grant, *, expected_revision: int | None, line: LedgerLine | None = None
    ) -> bool:
        process, world = self._process, self._process.world
        await process.boundary(grant.server, "before save")
        await asyncio.sleep(world.faults.between(0.001, 0.01))
        process.boundary_now(grant.server, "before save")
        fault = world.disk.meet()
        world.disk.require_key()
        world.disk.require_room()
        if fault is Fault.STORE_BUSY:
            raise StoreUnavailable("kept busy by another process")
        saved = await self._store.save_grant(grant, expected_revision=expected_revision, line=line)
        if saved:
            world.saved(process, grant, line)
            process.stored(grant)
        if fault is Fault.WRITE_UNSURE:
            world.trace(process.name, "WRITE UNSURE", grant.server)
            world.truth.unsure(grant.server)
            raise StoreUnavailable("input/output error")
        await process.boundary(grant.server, "after save")
        return saved

    async def forget_grant(self, server: str, *, line: LedgerLine | None = None) -> None:
        self._process.world.checks.fail(server, "the grant was deleted")
        await self._store.forget_grant(server, line=line)

    async def load_registration(self, issuer: str, redirect_uri: str) -> ClientRegistration | None:
        return await self._store.load_registration(issuer, redirect_uri)

    async def save_registration(self, registration: ClientRegistration) -> None:
        self._process.world.disk.require_room()
        await self._store.save_registration(registration)

    async def load_ledger(self, server: str, limit: int) -> Sequence[LedgerLine]:
        return await self._store.load_ledger(server, limit)


class BoundLease:
    """The engine's lease behind boundaries."""

    def __init__(self, process: "Process", lease: Lease) -> None:
        self._process = process
        self._lease = lease

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        server = name.removeprefix("grant:")
        await self._process.boundary(server, "before acquire")
        self._process.world.disk.require_room()
        hold = await self._lease.acquire(name, ttl)
        await self._process.boundary(server, "after acquire")
        return hold

    async def release(self, hold: LeaseHold) -> None:
        server = hold.name.removeprefix("grant:")
        await self._process.boundary(server, "before release")
        self._process.world.disk.require_room()
        await self._lease.release(hold)
        await self._process.boundary(server, "after release")
