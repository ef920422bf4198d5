"""What the storage tests run on: a clock that obeys, and vaults of every engine."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from mcpproxy.core.ports import Lease, Store
from mcpproxy.storage.engines import Opening, Vault, open_sqlite
from mcpproxy.storage.holder import Holder
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.memory import MemoryApprovals, MemoryLease, MemoryStore, MemoryWorld
from mcpproxy.storage.runner import InlineRunner, Runner, ThreadRunner
from tests.storage.samples import NOON


@dataclass
class HandClock:
    """Time that stands still until a test moves it."""

    since_boot: timedelta = timedelta(hours=1)
    wall: datetime = NOON

    def now(self) -> datetime:
        return self.wall

    def elapsed(self) -> timedelta:
        return self.since_boot

    def suspended(self) -> timedelta:
        return timedelta()

    def advance(self, span: timedelta) -> None:
        self.since_boot += span
        self.wall += span


@dataclass
class World:
    """One durable vault and the processes that open it; `dead` are the processes that died."""

    open: Callable[["World", Holder], Awaitable[Vault]]
    clock: HandClock = field(default_factory=HandClock)
    dead: set[int] = field(default_factory=set)
    vaults: list[Vault] = field(default_factory=list)

    async def process(self, pid: int = 1) -> tuple[Store, Lease]:
        """Open the vault as process `pid` of this boot."""
        vault = await self.vault(pid)
        return vault.store, vault.lease

    async def vault(self, pid: int = 1) -> Vault:
        """The same, as a whole."""
        vault = await self.open(self, Holder("boot", "pids", pid, "then", f"p{pid}"))
        self.vaults.append(vault)
        return vault

    def is_alive(self, holder: Holder) -> bool:
        return holder.pid not in self.dead

    async def close(self) -> None:
        for vault in self.vaults:
            await vault.store.close()


def memory_world(data_dir: Path) -> World:
    durable = MemoryWorld()

    async def open_one(world: World, holder: Holder) -> Vault:
        lease = MemoryLease(durable, world.clock, holder=holder, is_alive=world.is_alive)
        return Vault(MemoryStore(durable), lease, approvals=MemoryApprovals(durable))

    return World(open_one)


def _sqlite_world(data_dir: Path, runner: Callable[[], Runner]) -> World:
    async def open_one(world: World, holder: Holder) -> Vault:
        return await open_sqlite(
            Opening(
                data_dir=data_dir,
                keys=StaticKey(),
                clock=world.clock,
                holder=holder,
                is_alive=world.is_alive,
                runner=runner,
            )
        )

    return World(open_one)


def sqlite_world(data_dir: Path) -> World:
    return _sqlite_world(data_dir, ThreadRunner)


def sqlite_inline_world(data_dir: Path) -> World:
    return _sqlite_world(data_dir, InlineRunner)


WORLDS = {
    "memory": memory_world,
    "sqlite": sqlite_world,
    "sqlite-inline": sqlite_inline_world,
}
