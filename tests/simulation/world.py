"""The simulated world: one store, some processes that share it, a provider, and trouble.

The custody, oauth and storage code in it is the real one. Processes die at I/O boundaries and
come back; what is durable is the store alone.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

from mcpproxy.core.errors import StoreError, TokenUnavailable
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import Grant, Secret
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy
from mcpproxy.core.ports import Store
from mcpproxy.storage.engines import Vault
from mcpproxy.storage.holder import Holder
from tests.simulation.authority import Authority
from tests.simulation.books import Attempted, Books
from tests.simulation.checks import Checks
from tests.simulation.clock import SimClock
from tests.simulation.dice import FaultSource
from tests.simulation.disk import Disk
from tests.simulation.engines import Engine
from tests.simulation.faults import ALL, Fault, FaultRates
from tests.simulation.host import Host
from tests.simulation.people import People, server_url
from tests.simulation.process import Process, owned_task
from tests.simulation.provider import Login, Provider
from tests.simulation.trouble import Trouble
from tests.simulation.truth import Truth
from tests.simulation.wire import Flight

STORY_LINES: Final = 30

READ_LAG: Final = 60.0
"""How far a read may be behind, in seconds."""

REMEMBERED_TOKENS: Final = 12
"""More than can be refreshed while a process has not re-read the store: one in 10 s at most."""


@dataclass(frozen=True, slots=True)
class Machines:
    """How many there are, how wrong their clocks are at most, and how often a process on them
    looks around by itself; in seconds. Virtual looks cost real time.
    """

    hosts: int = 1
    skew: float = 0.0
    tick: float = 30.0


class World:
    """Everything that is not the code under test. `durable` is what the store has confirmed."""

    def __init__(
        self,
        seed: int,
        engine: Engine,
        rates: FaultRates,
        machines: Machines,
        *,
        policy: RefreshPolicy = DEFAULT_POLICY,
        provider: Provider | None = None,
        name: str = "",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(owned_task)  # type: ignore[arg-type]
        self._loop.set_exception_handler(self._reported)
        self.random = Random(seed)
        self.name = name
        self.clock = SimClock(self._loop)
        self.hosts = _machines(self._loop, self.clock, machines, Random(seed))
        self.engine = engine
        self.policy = policy
        self.machines = machines
        self.tick = machines.tick
        self.faults = FaultSource(Random(self.random.random()), rates)
        self.provider = provider or Provider(Random(self.random.random()))
        self.authority = Authority(self.provider)
        self.durable: dict[str, Grant] = {}
        self.saved_at: dict[str, float] = {}
        self._older: dict[str, tuple[Grant, float]] = {}
        self.stored_tokens: dict[str, deque[Secret]] = {}
        self.processes: list[Process] = []
        self.flights: dict[Flight, None] = {}
        self.books = Books()
        self.disk = Disk(self)
        self.checks = Checks(self)
        self.truth = Truth(self)
        self.trouble = Trouble(self)
        self.people = People(self)
        self._vault: Vault | None = None
        self._hash = hashlib.sha256()
        self._stories: dict[str, deque[str]] = {}
        self._number = 0
        self._errands: set[asyncio.Task[None]] = set()

    def _reported(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Custody survives its own bugs and reports them; here each is one too many."""
        self.checks.fail(ALL, f"{context['message']}: {context.get('exception')!r}")

    # --- time and trace -----------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the beginning, slept ones included."""
        return self.clock.seconds()

    def awake(self) -> float:
        """Seconds since the beginning in which anything of ours could run."""
        return self._loop.time()

    def trace(self, who: str, what: str, server: str = ALL, detail: object = "") -> None:
        """One line of the trace: hashed always, and told again if this server's story is asked."""
        line = f"{self.now():.3f} {self.name}{who} {what} {server} {detail}"
        self._hash.update(line.encode())
        self._stories.setdefault(server, deque(maxlen=STORY_LINES)).append(line)

    def story(self, server: str) -> list[str]:
        """The last that happened to this server, and to everybody."""
        lines = [*self._stories.get(server, ()), *self._stories.get(ALL, ())]
        return sorted(lines, key=lambda line: float(line.split(" ", 1)[0]))[-STORY_LINES:]

    def trace_hash(self) -> str:
        return self._hash.hexdigest()

    # --- processes ----------------------------------------------------------------------------

    @property
    def vault(self) -> Store:
        """The judge's own view of the store."""
        if self._vault is None:
            raise AssertionError("the world has not begun")
        return self._vault.store

    async def begin(self, logins: list[Login], processes: int) -> None:
        """Store the logins, start the processes."""
        self._vault = await self.engine.open(self, None)
        for login in logins:
            await self.people.log_in(login)
        for _ in range(processes):
            await self._spawn()

    async def begin_as_copy(self, other: "World", processes: int) -> None:
        """Start on a copy of another world's vault."""
        self._vault = await self.engine.open(self, None)
        for server, grant in other.durable.items():
            self.remember(grant)
            self.stored_tokens[server] = deque(other.stored_tokens[server], REMEMBERED_TOKENS)
        for _ in range(processes):
            await self._spawn()

    async def end(self) -> None:
        """Everybody stops in order."""
        for process in list(self.processes):
            await process.terminate()
        for errand in self._errands:
            errand.cancel()
        await self.vault.close()

    def running(self) -> list[Process]:
        """The processes that a caller can reach now."""
        return [p for p in self.processes if p.is_ready() and not p.is_paused()]

    def is_alive(self, holder: Holder) -> bool:
        """Whether the process that took a lease is there: the operating system knows, and a
        database server sees the connection of a dead one break.
        """
        return any(process.name == holder.instance for process in self.processes)

    async def _spawn(self) -> None:
        self._number += 1
        host = self.hosts[self._number % len(self.hosts)]
        process = Process(self, self._number, host)
        self.processes.append(process)
        with suppress(asyncio.CancelledError):
            await process.run(process.begin())

    def died(self, process: Process) -> None:
        """It is gone; another comes. An answer on its way to it dies with it."""
        for issue in process.on_the_way.values():
            issue.die_with_its_holder(self.now())
        self.faults.be_quiet(ALL, self.now())
        self.processes.remove(process)
        self.errand(self._respawn())

    async def _respawn(self) -> None:
        await asyncio.sleep(self.faults.between(0.2, 4.0))
        await self._spawn()

    def errand(self, coro: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coro, context=Context())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    # --- what is durable ------------------------------------------------------------------------

    def saved(self, process: Process, grant: Grant, line: LedgerLine | None) -> None:
        """The store says that this is durable."""
        before = self.durable[grant.server]
        self._older[grant.server] = (before, self.now())
        self.checks.saved(before, grant)
        self.truth.saved(process, before, grant, line)
        self.remember(grant)

    def lagging(self, server: str) -> Grant | None:
        """What a replica that lags may still answer."""
        older, saved_at = self._older.get(server, (None, 0.0))
        return older if self.now() - saved_at < READ_LAG else None

    def remember(self, grant: Grant) -> None:
        before = self.durable.get(grant.server)
        self.durable[grant.server] = grant
        if before is None or before.tokens is not grant.tokens:
            self.saved_at[grant.server] = self.now()
            tokens = self.stored_tokens.setdefault(grant.server, deque(maxlen=REMEMBERED_TOKENS))
            tokens.append(grant.tokens.access_token)

    def forget_older(self, server: str) -> None:
        """No replica knows anything from before this moment."""
        self._older.pop(server, None)

    def attempt_of(self, process: Process, server: str) -> Attempted:
        """What the process has under way; one without an intent is judged elsewhere."""
        return process.attempts.get(server) or Attempted("", server, process.name)

    def outage(self, server: str) -> Fault | None:
        """How the provider's being down shows now."""
        return self.trouble.outage(server)

    # --- callers ------------------------------------------------------------------------------

    def call(self, server: str) -> None:
        """One tool call somewhere: take the token, use it, be challenged, perhaps go away."""
        running = self.running()
        if not running:
            return
        process = self.random.choice(running)
        self.truth.look(process, server)
        task = process.run(self.use(process, server))
        if self.faults.caller_gone():
            self._loop.call_later(self.faults.between(0.0, 2.0), task.cancel)

    async def use(self, process: Process, server: str) -> None:
        manager, url = process.manager, server_url(server)
        try:
            token = await manager.token(server, url)
            if token is None:
                self.checks.told_nothing(process, server)
                return
            self.checks.handed_out(server, token)
            if not self.works(server, token):
                self.checks.challenged(server)
                token = await manager.challenged(server, url, token)
                self.checks.handed_out(server, token)
            if self.works(server, token):
                await manager.accepted(server, token)
        except TokenUnavailable as error:
            self.checks.told_unavailable(process, server, error)
        except StoreError as error:
            self.checks.fail(server, f"a caller was told of the store: {error}")

    def works(self, server: str, token: Secret) -> bool:
        return self.provider.family(server).knows_access(token.reveal(), self.now())


def _machines(
    loop: asyncio.AbstractEventLoop, clock: SimClock, machines: Machines, random: Random
) -> list[Host]:
    """One machine has the right clock; of several each has its own, more or less."""
    if machines.hosts == 1:
        return [Host(0, clock)]
    return [
        Host(
            number,
            SimClock(
                loop,
                booted=random.uniform(0, 1e6),
                skew=timedelta(seconds=random.uniform(-machines.skew, machines.skew)),
            ),
        )
        for number in range(machines.hosts)
    ]
