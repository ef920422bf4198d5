"""The storage engines by name, and how a vault is opened.

Law: a new engine is a file and a line in ENGINES; the contract suite then runs on it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import ConfigError, StoreError
from mcpproxy.core.ports import ApprovalStore, Clock, Lease, Store
from mcpproxy.storage.connection import Access, Connect, SqliteConnection
from mcpproxy.storage.database import Database
from mcpproxy.storage.holder import Holder, IsAlive, is_alive, this_process
from mcpproxy.storage.keys import KeySource
from mcpproxy.storage.memory import MemoryApprovals, MemoryLease, MemoryStore, MemoryWorld
from mcpproxy.storage.runner import Runner, ThreadRunner
from mcpproxy.storage.sqlite import SqliteStore
from mcpproxy.storage.sqlite_approvals import SqliteApprovals
from mcpproxy.storage.sqlite_lease import SqliteLease
from mcpproxy.storage.vault_key import VaultKey

VAULT: Final = "vault.db"


@dataclass(frozen=True, slots=True)
class Opening:
    """All that an engine may need to open a vault. Only the first three have no default.

    `database_url` None means the embedded default. The rest are seams for the simulator.
    """

    data_dir: Path
    keys: KeySource
    clock: Clock
    database_url: str | None = None
    access: Access = Access.READ_WRITE
    holder: Holder = field(default_factory=this_process)
    is_alive: IsAlive = is_alive
    runner: Callable[[], Runner] = ThreadRunner
    connect: Connect = SqliteConnection


@dataclass(frozen=True, slots=True)
class Vault:
    """An open vault. `locked` is why its sealed rows cannot be opened now, if they cannot."""

    store: Store
    lease: Lease
    locked: StoreError | None = None
    approvals: ApprovalStore = field(default_factory=MemoryApprovals)


Engine = Callable[[Opening], Awaitable[Vault]]


async def open_memory(opening: Opening) -> Vault:
    """A vault that lives as long as this process."""
    world = MemoryWorld()
    lease = MemoryLease(world, opening.clock, holder=opening.holder, is_alive=opening.is_alive)
    return Vault(MemoryStore(world), lease, approvals=MemoryApprovals(world))


async def open_sqlite(opening: Opening) -> Vault:
    """The vault in the data directory.

    Raises StoreCorrupt, SchemaTooNew, StoreUnavailable or NotPermitted. A key that is missing,
    wrong or locked raises nothing here: the vault opens locked. READ_ONLY of a vault that was
    never made is an empty one.
    """
    path = opening.data_dir / VAULT
    if opening.access is Access.READ_ONLY and not path.exists():
        return await open_memory(opening)
    runner = opening.runner()
    database = Database(path, access=opening.access, connect=opening.connect)
    key = VaultKey(database, opening.keys, opening.clock)

    def begin() -> StoreError | None:
        database.open()
        return key.unlock()

    try:
        locked = await runner.run(begin)
    except BaseException:
        await runner.run(database.close)
        await runner.close()
        raise
    store = SqliteStore(database, key, runner, opening.clock)
    lease = SqliteLease(database, runner, opening.clock, opening.holder, opening.is_alive)
    return Vault(store, lease, locked, SqliteApprovals(database, runner))


ENGINES: Final[Mapping[str, Engine]] = {
    "memory": open_memory,
    "sqlite": open_sqlite,
}
"""By the scheme of `database_url`."""


async def open_vault(opening: Opening) -> Vault:
    """The vault that the configuration names. Raises ConfigError for an unknown engine."""
    scheme = (opening.database_url or "sqlite:").partition(":")[0]
    engine = ENGINES.get(scheme)
    if engine is None:
        raise ConfigError(
            f"database_url: there is no storage engine {scheme!r}",
            next_step=f"leave it out for the embedded vault; known are: {', '.join(ENGINES)}",
        )
    return await engine(opening)
