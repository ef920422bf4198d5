"""Writes what happens to a grant: evolve, compare-and-swap, again on the newer facts if they moved.

Law: an event is either stored or its writer knows that it is not. A token set, once received, is
written whatever it takes; an intent is written once or not at all.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.events import GrantEvent
from mcpproxy.core.evolution import evolve
from mcpproxy.core.ledger import line_of
from mcpproxy.core.model import Grant
from mcpproxy.core.notices import LedgerWritten
from mcpproxy.core.ports import Clock, Publisher, Store

RETRY_WRITE_FIRST: Final = timedelta(milliseconds=250)
MAX_READ_LAG: Final = timedelta(seconds=60)
"""How far a replica may lag behind; what looks old for longer than this is the truth by now."""

RETRY_WRITE_CAP: Final = timedelta(milliseconds=500)


class Superseded(Exception):
    """The grant that the event is about is not the current one any more: a new login, a logout."""


class Journal:
    """The only writer of grants between a login and its end."""

    def __init__(self, store: Store, clock: Clock, publisher: Publisher) -> None:
        self._store = store
        self._clock = clock
        self._publisher = publisher
        self._hear: Callable[[McpproxyError | None], None] = lambda error: None

    def on_write(self, hear: Callable[[McpproxyError | None], None]) -> None:
        """`hear` of every write that the store took (None), and of every failure that is tried
        again here: nobody else hears of those.
        """
        self._hear = hear

    async def load(self, server: str) -> Grant | None:
        """The grant as it is stored now."""
        return await self._store.load_grant(server)

    async def load_all(self) -> tuple[Grant, ...]:
        """Every stored grant that can be opened."""
        return tuple(await self._store.load_grants())

    async def stamp(self) -> int:
        """Another number whenever another process may have written."""
        return await self._store.stamp()

    def damage(self, server: str) -> str | None:
        """Why this server's stored grant could not be opened at the last `load_all`, if it could
        not.
        """
        error = self._store.damaged().get(server)
        return error.message if error is not None else None

    async def try_append(self, grant: Grant, event: GrantEvent) -> Grant | None:
        """Store `event` on exactly these facts; None if they have moved meanwhile."""
        evolved = replace(evolve(grant, event), revision=grant.revision + 1)
        line = line_of(grant, event, evolved, self._clock.now())
        saved = await self._store.save_grant(evolved, expected_revision=grant.revision, line=line)
        if saved:
            self._hear(None)
        if saved and line is not None:
            self._publisher.publish(LedgerWritten(line.server, line))
        return evolved if saved else None

    async def append(self, grant: Grant, event: GrantEvent) -> Grant:
        """Store `event` on whatever the facts are by now.

        Facts that look older than ours are a lagging replica's, and waited for; no replica lags
        for ever, so after MAX_READ_LAG they are the truth (a vault that was put back). Raises
        Superseded, StoreError.
        """
        pause, waited = RETRY_WRITE_FIRST, timedelta(0)
        while True:
            stored = await self.try_append(grant, event)
            if stored is not None:
                return stored
            fresh = await self._store.load_grant(grant.server)
            if fresh is None or fresh.login_id != grant.login_id:
                raise Superseded(grant.server)
            if fresh.revision <= grant.revision and waited < MAX_READ_LAG:
                await asyncio.sleep(pause.total_seconds())
                waited += pause
                pause = min(pause * 2, RETRY_WRITE_CAP)
            else:
                grant = fresh

    async def append_at_any_cost(self, grant: Grant, event: GrantEvent) -> Grant:
        """As `append`, but a store that does not take writes, for whatever reason, is asked again
        for ever: what the event holds exists nowhere else. Raises Superseded only.
        """
        pause = RETRY_WRITE_FIRST
        while True:
            try:
                return await self.append(grant, event)
            except McpproxyError as error:
                self._hear(error)
                await asyncio.sleep(pause.total_seconds())
                pause = min(pause * 2, RETRY_WRITE_CAP)
