"""Writes the end of a login into the ledger: the one count of logins that were lost.

Law: each end is told once, whoever notices it, however many processes run and however often they
start: telling it is a fact of the grant, stored by compare-and-swap.
"""

import asyncio
from datetime import timedelta
from typing import Final

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.events import EndTold
from mcpproxy.core.lifecycle import ending
from mcpproxy.core.model import Grant
from mcpproxy.core.notices import LoginLost, Notice
from mcpproxy.core.ports import Clock, GrantFacts
from mcpproxy.custody.journal import Journal

TRY_AGAIN: Final = timedelta(seconds=10)
"""How long a store that does not take writes is left alone; the end is shown meanwhile."""


class Endings:
    """Hears that a login is lost; `run` writes it down."""

    def __init__(self, journal: Journal, facts: GrantFacts, clock: Clock) -> None:
        self._journal = journal
        self._facts = facts
        self._clock = clock
        self._lost: dict[str, None] = {}
        self._heard = asyncio.Event()

    def hear(self, notice: Notice) -> None:
        """Remember it; every process that starts hears of old ends again."""
        if not isinstance(notice, LoginLost):
            return
        grant = self._facts.grant(notice.server)
        if grant is None or not _is_told(grant):
            self._lost[notice.server] = None
            self._heard.set()

    async def run(self) -> None:
        """Write for ever; ends by cancellation."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            for server in tuple(self._lost):
                if await self._write(server):
                    self._lost.pop(server, None)
            if self._lost:
                self._heard.set()
                await asyncio.sleep(TRY_AGAIN.total_seconds())

    async def _write(self, server: str) -> bool:
        """True once nothing is left to be told."""
        try:
            while True:
                grant = await self._journal.load(server)
                if grant is None or _is_told(grant):
                    return True
                ended = ending(grant, self._clock.now())
                if ended is None:
                    return True
                if await self._journal.try_append(grant, EndTold(ended)) is not None:
                    return True
        except McpproxyError:
            return False


def _is_told(grant: Grant) -> bool:
    return grant.told_generation == grant.generation
