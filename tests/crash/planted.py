"""Bugs for the crash test to find: what a plausible mistake would make of the product.

Law: planted in a daemon's process before it begins; a test that cannot find them proves nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from mcpproxy.core import lifecycle
from mcpproxy.core.events import AttemptOrphaned, GrantEvent, RefreshFailed
from mcpproxy.core.evolution import evolve
from mcpproxy.core.model import FailureKind, Grant, Phase, RefreshFailure
from mcpproxy.custody import journal
from mcpproxy.storage.sqlite import SqliteStore

WRITTEN_BEHIND_S: Final = 8.0


def nothing() -> None:
    """The product as it is."""


def written_behind() -> None:
    """What is stored is kept in memory, and written to the disk when there is time."""
    load, load_all, save = SqliteStore.load_grant, SqliteStore.load_grants, SqliteStore.save_grant
    kept: dict[str, Grant] = {}
    writing: set[asyncio.Task[None]] = set()

    async def load_grant(self: SqliteStore, server: str) -> Grant | None:
        return kept.get(server) or await load(self, server)

    async def load_grants(self: SqliteStore) -> list[Grant]:
        return [kept.get(grant.server, grant) for grant in await load_all(self)]

    async def write(self: SqliteStore, server: str) -> None:
        await asyncio.sleep(WRITTEN_BEHIND_S)
        stored = await load(self, server)
        if stored is not None:
            await save(self, kept.pop(server), expected_revision=stored.revision)

    async def save_grant(
        self: SqliteStore, grant: Grant, *, expected_revision: int | None, **_: object
    ) -> bool:
        known = await load_grant(self, grant.server)
        if known is None or known.revision != expected_revision:
            return False
        if grant.server not in kept:
            task = asyncio.create_task(write(self, grant.server))
            writing.add(task)
            task.add_done_callback(writing.discard)
        kept[grant.server] = grant
        return True

    SqliteStore.load_grant = load_grant  # type: ignore[method-assign]
    SqliteStore.load_grants = load_grants  # type: ignore[method-assign]
    SqliteStore.save_grant = save_grant  # type: ignore[method-assign]


def orphans_given_up() -> None:
    """A refresh token whose answer never came is taken for spent, and never presented again."""
    spent = RefreshFailure(FailureKind.REFUSED, "its answer was lost", code="invalid_grant")

    def gives_up(grant: Grant, event: GrantEvent) -> Grant:
        attempt = grant.attempt
        if not isinstance(event, AttemptOrphaned) or attempt is None:
            return evolve(grant, event)
        failed = evolve(grant, RefreshFailed(event.attempt_id, spent, event.at))
        if attempt.phase is Phase.CONNECTING or failed.refusals is None:
            return evolve(grant, event)
        return replace(failed, refusals=replace(failed.refusals, count=lifecycle.MAX_REFUSALS))

    vars(journal)["evolve"] = gives_up


BUGS: Final[Mapping[str, Callable[[], None]]] = {
    "none": nothing,
    "written-behind": written_behind,
    "orphans-given-up": orphans_given_up,
}
