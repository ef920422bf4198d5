"""The storage engines as the simulator opens them: the real ones, run inline.

An engine here is one vault that several processes open; it can be copied away and put back.
"""

import copy
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mcpproxy.core.ports import Lease, LeaseHold
from mcpproxy.storage.connection import Access, Connection, Row, SqliteConnection, Value
from mcpproxy.storage.engines import VAULT, Opening, Vault, open_sqlite
from mcpproxy.storage.holder import Holder
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.memory import MemoryLease, MemoryStore, MemoryWorld
from mcpproxy.storage.runner import InlineRunner
from tests.simulation.clock import SimClock
from tests.simulation.faults import ALL
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

JUDGE: Final = Holder("judge", "pids", 0, "", "judge")


class Engine(Protocol):
    """One vault."""

    async def open(self, world: "World", process: Process | None) -> Vault:
        """For a process, or for the judge."""

    def back_up(self) -> None:
        """Copy it away; an older copy is replaced."""

    def restore(self) -> None:
        """Put the copy back in its place, under the feet of whoever has it open."""

    def break_lease(self, name: str) -> None:
        """Whoever holds it does not any more, and is not told."""


class MemoryEngine:
    """One MemoryWorld for all processes."""

    def __init__(self) -> None:
        self.shared = MemoryWorld()
        self._copy: MemoryWorld | None = None

    async def open(self, world: "World", process: Process | None) -> Vault:
        holder = process.holder if process else JUDGE
        clock = process.host.clock if process else world.clock
        if len(world.hosts) == 1:
            lease: Lease = MemoryLease(self.shared, clock, holder=holder, is_alive=world.is_alive)
        else:
            lease = ServerLease(
                MemoryLease(self.shared, world.clock, holder=holder, is_alive=world.is_alive), clock
            )
        return Vault(MemoryStore(self.shared), lease)

    def back_up(self) -> None:
        self._copy = _copy_of(self.shared)

    def restore(self) -> None:
        if self._copy is not None:
            state = _copy_of(self._copy)
            for name in ("grants", "set_aside", "ledger"):
                setattr(self.shared, name, getattr(state, name))

    def break_lease(self, name: str) -> None:
        claim = self.shared.claims.get(name)
        if claim is not None:
            self.shared.claims[name] = replace(claim, holder=None)

    def clone(self) -> "MemoryEngine":
        """The same vault once more, as on a laptop that was copied."""
        twin = MemoryEngine()
        twin.shared = _copy_of(self.shared)
        return twin


def _copy_of(world: MemoryWorld) -> MemoryWorld:
    """Its records are frozen; only what holds them is made anew."""
    aside = {server: list(grants) for server, grants in world.set_aside.items()}
    ledger = {server: list(lines) for server, lines in world.ledger.items()}
    return replace(
        copy.copy(world), grants=dict(world.grants), set_aside=aside, ledger=ledger, claims={}
    )


class ServerLease:
    """Leases by the clock of a database server that several machines share, told to each in its
    own elapsed time, counted from before it asked.
    """

    def __init__(self, lease: MemoryLease, clock: SimClock) -> None:
        self._lease = lease
        self._clock = clock

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        asked_at = self._clock.elapsed()
        hold = await self._lease.acquire(name, ttl)
        return replace(hold, until=asked_at + ttl) if hold else None

    async def release(self, hold: LeaseHold) -> None:
        await self._lease.release(hold)


class SqliteEngine:
    """One vault file, and a connection of its own for each process."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._copy = data_dir / "backup.db"

    async def open(self, world: "World", process: Process | None) -> Vault:
        def connect(path: Path, access: Access) -> Connection:
            connection = SqliteConnection(path, access)
            return connection if process is None else MortalConnection(connection, process)

        holder = process.holder if process else JUDGE
        opening = Opening(
            data_dir=self._data_dir,
            keys=StaticKey(),
            clock=process.host.clock if process else world.clock,
            holder=holder,
            is_alive=world.is_alive,
            runner=InlineRunner,
            connect=connect,
        )
        return await open_sqlite(opening)

    def back_up(self) -> None:
        shutil.copyfile(self._data_dir / VAULT, self._copy)

    def restore(self) -> None:
        if self._copy.exists():
            again = self._copy.with_suffix(".again")
            shutil.copyfile(self._copy, again)
            os.replace(again, self._data_dir / VAULT)

    def break_lease(self, name: str) -> None:
        with closing(sqlite3.connect(self._data_dir / VAULT)) as connection, connection:
            connection.execute("UPDATE leases SET instance = NULL WHERE name = ?", (name,))


class MortalConnection:
    """A connection whose process may die before any statement, COMMIT included: what it had not
    committed is then rolled back, as the file's next reader would find it.
    """

    def __init__(self, connection: SqliteConnection, process: Process) -> None:
        self._connection = connection
        self._process = process
        process.on_death.append(connection.close)

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        self._process.boundary_now(ALL, sql.split(maxsplit=1)[0])
        return self._connection.execute(sql, parameters)

    def in_transaction(self) -> bool:
        return self._connection.in_transaction()

    def back_up(self, target: Path) -> None:
        self._connection.back_up(target)

    def close(self) -> None:
        self._connection.close()
