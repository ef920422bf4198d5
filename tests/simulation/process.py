"""One simulated process with custody: the real code behind boundaries, and its death.

Law: what the process does, it does in tasks of its own; kill -9 ends them all, and the dead get
no further than the next boundary, not even to clean up.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from mcpproxy.core.model import Grant
from mcpproxy.core.notices import Notice
from mcpproxy.core.ports import Store
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.repair import Repairs
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.storage.engines import Vault
from mcpproxy.storage.holder import Holder
from tests.simulation.books import Attempted
from tests.simulation.bound import BoundLease, BoundStore
from tests.simulation.faults import ALL
from tests.simulation.host import Host
from tests.simulation.provider import Fate, Issue
from tests.simulation.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

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
    """Alive until `die`. `on_the_way` are the answers that it has not stored yet, `attempts` what
    it began last for each server.
    """

    def __init__(self, world: "World", number: int, host: Host) -> None:
        self.world = world
        self.host = host
        self.name = f"p{number}"
        self.holder = Holder(host.boot_id, "pids", number, "", self.name)
        self.alive = True
        self.stopping = False
        self.began = world.now()
        self.on_the_way: dict[str, Issue] = {}
        self.attempts: dict[str, Attempted] = {}
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
        world, clock = self.world, self.host.clock
        self._vault = vault = await world.engine.open(world, self)
        store, wire = cast(Store, BoundStore(self, vault.store)), Wire(self)
        tools = RefreshTools(
            journal=Journal(store, clock, self),
            lease=BoundLease(self, vault.lease),
            provider=TokenEndpoint(wire, clock),
            clock=clock,
            publisher=self,
            policy=world.policy,
            holder=self.name,
            new_attempt_id=self._new_attempt_id,
            may_send=lambda: not self.stopping,
            repair=Repairs(wire, store, clock),
        )
        self._manager = RefreshManager(tools, tick=timedelta(seconds=world.tick))
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
        if self.alive:
            self.die()

    def attempts_now(self, server: str) -> bool:
        """Whether a refresh of this server is under way here."""
        last = self.attempts.get(server)
        return last is not None and not last.ended

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
        sent = [flight.server for flight in world.flights if flight.process is self]
        busy_with = [server, *sent, *self.on_the_way]
        if self.alive and world.faults.crash(world.now(), busy_with=busy_with):
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
        world.truth.heard(self, notice)

    def _new_attempt_id(self) -> str:
        self._attempts += 1
        return f"{self.name}-{self._attempts}"


def _told(notice: Notice) -> object:
    failure = getattr(notice, "failure", None)
    at = getattr(notice, "at", None)
    return failure.detail if failure and at is None else at or ""
