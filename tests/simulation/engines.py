"""The storage engines as the simulator opens them: the real ones, run inline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mcpproxy.storage.connection import Access, Connection, Row, SqliteConnection, Value
from mcpproxy.storage.engines import Opening, Vault, open_sqlite
from mcpproxy.storage.holder import Holder
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.memory import MemoryLease, MemoryStore, MemoryWorld
from mcpproxy.storage.runner import InlineRunner
from tests.simulation.faults import ALL
from tests.simulation.process import Process
from tests.simulation.world import Engine, World

JUDGE: Final = Holder("boot", "pids", 0, "", "judge")


def memory_engine() -> Engine:
    """One MemoryWorld for all processes."""
    shared = MemoryWorld()

    async def open_vault(world: World, process: Process | None) -> Vault:
        lease = MemoryLease(shared, world.clock, holder=_holder(process), is_alive=world.is_alive)
        return Vault(MemoryStore(shared), lease)

    return open_vault


def sqlite_engine(data_dir: Path) -> Engine:
    """One vault file, and a connection of its own for each process."""

    async def open_vault(world: World, process: Process | None) -> Vault:
        def connect(path: Path, access: Access) -> Connection:
            connection = SqliteConnection(path, access)
            return connection if process is None else MortalConnection(connection, process)

        opening = Opening(
            data_dir=data_dir,
            keys=StaticKey(),
            clock=world.clock,
            holder=_holder(process),
            is_alive=world.is_alive,
            runner=InlineRunner,
            connect=connect,
        )
        return await open_sqlite(opening)

    return open_vault


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


def _holder(process: Process | None) -> Holder:
    return Holder("boot", "pids", process.number, "", process.name) if process else JUDGE
