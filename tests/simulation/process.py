"""One simulated process with custody: the real code behind boundaries, and its death.

Law: what the process does, it does in tasks of its own; kill -9 ends them all, and the dead get
no further than the next boundary, not even to clean up.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar, copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from mcpproxy.core.errors import StoreError
from mcpproxy.core.model import Grant
from mcpproxy.core.notices import LoginLost, Notice, RefreshSucceeded
from mcpproxy.core.ports import Lease, LeaseHold, Store
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.storage.engines import Vault
from tests.simulation.faults import ALL
from tests.simulation.provider import Fate, Issue
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

TICK: Final = timedelta(seconds=30)
"""Virtual seconds cost real ones; the manager looks by itself when something is due."""

_OWNER: ContextVar["Process | None"] = ContextVar("owner", default=None)


def owned_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> "asyncio.Task[Any]":
    """A task factory: a task belongs to the process that created it."""
    task = asyncio.Task(coro, loop=loop, **options)
    context = options.get("context")
    owner = context.get(_OWNER) if context is not None else _OWNER.get()
    if owner is not None:
        owner.own(task)
    return task


class Process:
    """Alive until `die`. `on_the_way` are the answers that it has not stored yet."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.name = f"p{number}"
        self.number = number
        self.alive = True
        self.stopping = False
        self.on_the_way: dict[str, Issue] = {}
        self.paused_until = 0.0  # in seconds awake: a sleep of the machine is no part of it
        self.on_death: list[Callable[[], None]] = []
        self._attempts = 0
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._vault: Vault | None = None
        self._manager: RefreshManager | None = None

    @property
    def manager(self) -> RefreshManager:
        if self._manager is None:
            raise AssertionError("the process has not begun")
        return self._manager

    async def begin(self) -> None:
        """Open the vault and start custody."""
        world = self.world
        self._vault = vault = await world.engine(world, self)
        tools = RefreshTools(
            journal=Journal(cast(Store, BoundStore(self, vault.store))),
            lease=BoundLease(self, vault.lease),
            provider=TokenEndpoint(Wire(self), world.clock),
            clock=world.clock,
            publisher=self,
            policy=world.policy,
            holder=self.name,
            new_attempt_id=self._new_attempt_id,
            may_send=lambda: not self.stopping,
        )
        self._manager = RefreshManager(tools, tick=TICK)
        await self._manager.start()

    def run(self, coro: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """A task of this process."""
        context = copy_context()
        context.run(_OWNER.set, self)
        return asyncio.get_running_loop().create_task(coro, context=context)

    def own(self, task: "asyncio.Task[Any]") -> None:
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None and self.alive:
            self.world.checks.fail(ALL, f"{self.name}: {task.exception()!r}")

    def is_ready(self) -> bool:
        """It has started, and was not told to stop."""
        return self._manager is not None and not self.stopping

    def is_paused(self) -> bool:
        return self.world.awake() < self.paused_until

    def pause(self, seconds: float) -> None:
        """A debugger, a virtual machine moved, a swapping host: everything here stands still."""
        self.paused_until = self.world.awake() + seconds
        self.world.trace(self.name, "PAUSED", detail=f"{seconds:.0f}")

    def die(self) -> None:
        """kill -9."""
        self.alive = False
        for task in list(self._tasks):
            task.cancel()
        for close in self.on_death:
            close()
        self.world.died(self)

    async def terminate(self) -> None:
        """SIGTERM: stop in order, then exit."""
        self.stopping = True
        await self.manager.stop()
        for server, issue in self.on_the_way.items():
            if issue.fate is Fate.UNDER_WAY:
                self.world.checks.fail(server, "stopped while an answer was on its way")
        self.die()

    # --- boundaries ---------------------------------------------------------------------------

    async def boundary(self, server: str, where: str) -> None:
        """Between us and the world: here processes die and stand still."""
        self.boundary_now(server, where)
        world = self.world
        may_pause = not self._is_exchanging() and not self.is_paused()
        if may_pause and world.faults.paused(world.now()):
            self.pause(world.faults.between(41.0, 200.0))
        if self.is_paused():
            await asyncio.sleep(self.paused_until - world.awake() + 0.001)
        if not self.alive:
            raise asyncio.CancelledError

    def _is_exchanging(self) -> bool:
        """Then standing still would lose an answer in the hand, which nobody could help."""
        return bool(self.on_the_way) or any(flight.process is self for flight in self.world.flights)

    def boundary_now(self, server: str, where: str) -> None:
        """As `boundary`, where nothing can stand still."""
        world = self.world
        if self.alive and world.faults.crash(world.now(), busy_with=[server, *self.on_the_way]):
            world.trace(self.name, "CRASH", server, where)
            self.die()
        if not self.alive:
            raise asyncio.CancelledError

    def stored(self, grant: Grant) -> None:
        """A raw answer, or what was in it, is durable: it can no longer be lost on the way."""
        if grant.attempt is None or grant.attempt.answer is not None:
            issue = self.on_the_way.pop(grant.server, None)
            if issue is not None and issue.fate is Fate.UNDER_WAY:
                issue.fate = Fate.DELIVERED

    # --- what custody tells -------------------------------------------------------------------

    def publish(self, notice: Notice) -> None:
        """The port Publisher."""
        if not self.alive:
            return
        world = self.world
        world.trace(self.name, type(notice).__name__, getattr(notice, "server", ALL), _told(notice))
        match notice:
            case RefreshSucceeded():
                world.checks.succeeded(notice)
            case LoginLost():
                world.checks.told_lost(notice)
            case _:
                pass

    def _new_attempt_id(self) -> str:
        self._attempts += 1
        return f"{self.name}-{self._attempts}"


class BoundStore:
    """The engine behind boundaries: stale reads, a store that is full, death before and after.

    Only what the journal uses of the port Store.
    """

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store

    async def load_grant(self, server: str) -> Grant | None:
        process, world = self._process, self._process.world
        await process.boundary(server, "before load")
        older = world.lagging(server)
        stale = older is not None and world.faults.stale()
        grant = older if stale else await self._store.load_grant(server)
        await process.boundary(server, "after load")
        return grant

    async def load_grants(self) -> Sequence[Grant]:
        await self._process.boundary(ALL, "before load all")
        return await self._store.load_grants()

    def damaged(self) -> Mapping[str, StoreError]:
        return self._store.damaged()

    async def save_grant(self, grant: Grant, *, expected_revision: int | None) -> bool:
        process, world = self._process, self._process.world
        await process.boundary(grant.server, "before save")
        await asyncio.sleep(world.faults.between(0.001, 0.01))
        process.boundary_now(grant.server, "before save")
        world.maybe_fill_store()
        world.require_room()
        saved = await self._store.save_grant(grant, expected_revision=expected_revision)
        if saved:
            world.saved(grant)
            process.stored(grant)
        await process.boundary(grant.server, "after save")
        return saved

    async def forget_grant(self, server: str) -> None:
        self._process.world.checks.fail(server, "the grant was deleted")
        await self._store.forget_grant(server)


class BoundLease:
    """The engine's lease behind boundaries."""

    def __init__(self, process: Process, lease: Lease) -> None:
        self._process = process
        self._lease = lease

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        server = name.removeprefix("grant:")
        await self._process.boundary(server, "before acquire")
        self._process.world.require_room()
        hold = await self._lease.acquire(name, ttl)
        await self._process.boundary(server, "after acquire")
        return hold

    async def release(self, hold: LeaseHold) -> None:
        server = hold.name.removeprefix("grant:")
        await self._process.boundary(server, "before release")
        self._process.world.require_room()
        await self._lease.release(hold)
        await self._process.boundary(server, "after release")


def _told(notice: Notice) -> object:
    failure = getattr(notice, "failure", None)
    at = getattr(notice, "at", None)
    return failure.detail if failure and at is None else at or ""
