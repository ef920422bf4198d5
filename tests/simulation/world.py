"""The simulated world: one store, some processes that share it, a provider, and trouble.

The custody, oauth and storage code in it is the real one. Processes die at I/O boundaries and
come back; what is durable is the store alone.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from datetime import timedelta
from random import Random
from typing import Any, Final

from mcpproxy.core.errors import StoreTrouble, StoreUnavailable, TokenUnavailable
from mcpproxy.core.model import ClientRegistration, Grant, RegistrationSource, Secret, TokenSet
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy
from mcpproxy.core.ports import Store
from mcpproxy.storage.engines import Vault
from mcpproxy.storage.holder import Holder
from tests.simulation.checks import Checks
from tests.simulation.clock import SimClock
from tests.simulation.faults import ALL, Fault, FaultRates, FaultSource
from tests.simulation.process import Process, owned_task
from tests.simulation.provider import Expiry, Login, Provider
from tests.simulation.wire import Flight

ISSUER: Final = "https://auth.example.com"
STORY_LINES: Final = 30

READ_LAG: Final = 60.0
"""How far a read may be behind, in seconds."""

PATIENCE: Final = (1.0, 3600.0)
"""How long people take to log in again, in seconds."""

REMEMBERED_TOKENS: Final = 12
"""More than can be refreshed while a process has not re-read the store: one in 10 s at most."""


def server_url(server: str) -> str:
    return f"https://{server}.example.com/mcp"


Engine = Callable[["World", Process | None], Awaitable[Vault]]
"""Opens the one vault for a process, or for the judge."""


class World:
    """Everything that is not the code under test. `durable` is what the store has confirmed."""

    def __init__(
        self,
        seed: int,
        engine: Engine,
        rates: FaultRates,
        policy: RefreshPolicy = DEFAULT_POLICY,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(owned_task)  # type: ignore[arg-type]
        self._loop.set_exception_handler(self._reported)
        self.random = Random(seed)
        self.clock = SimClock(self._loop)
        self.engine = engine
        self.policy = policy
        self.faults = FaultSource(Random(self.random.random()), rates)
        self.provider = Provider(Random(self.random.random()))
        self.durable: dict[str, Grant] = {}
        self.saved_at: dict[str, float] = {}
        self._older: dict[str, tuple[Grant, float]] = {}
        self.stored_tokens: dict[str, deque[Secret]] = {}
        self.full_until = 0.0
        self.processes: list[Process] = []
        self.flights: dict[Flight, None] = {}
        self.checks = Checks(self)
        self._outage_until = 0.0
        self._log_in_at: dict[str, float] = {}
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
        line = f"{self.now():.3f} {who} {what} {server} {detail}"
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
        self._vault = await self.engine(self, None)
        for login in logins:
            await self.log_in(login)
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
        """What the operating system says of the process that took a lease."""
        return any(process.name == holder.instance for process in self.processes)

    async def _spawn(self) -> None:
        self._number += 1
        process = Process(self, self._number)
        self.processes.append(process)
        with suppress(asyncio.CancelledError):
            await process.run(process.begin())

    def died(self, process: Process) -> None:
        """It is gone; another comes. An answer on its way to it dies with it."""
        for issue in process.on_the_way.values():
            issue.die_with_its_holder(self.now())
        self.faults.be_quiet(ALL, self.now())
        self.processes.remove(process)
        self._errand(self._respawn())

    async def _respawn(self) -> None:
        await asyncio.sleep(self.faults.between(0.2, 4.0))
        await self._spawn()

    def _errand(self, coro: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coro, context=Context())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    # --- trouble ------------------------------------------------------------------------------

    def is_down(self, server: str) -> bool:
        """Whether the provider cannot be reached for this login."""
        return self.now() < self._outage_until and not self.faults.is_quiet(server, self.now())

    def maybe_fill_store(self) -> None:
        now = self.now()
        stopping = any(process.stopping for process in self.processes)
        if now >= self.full_until and not stopping and self.faults.full(now):
            self.full_until = now + self.faults.between(1.0, 120.0)
            self.faults.be_quiet(ALL, self.full_until)
            self.trace("world", "STORE FULL", detail=f"{self.full_until - now:.0f}")

    def require_room(self) -> None:
        """Every write needs it, a lease's too."""
        if self.now() < self.full_until:
            raise StoreUnavailable("the disk is full", trouble=StoreTrouble.FULL)

    def befall(self, fault: Fault) -> None:
        """One of the troubles that meet the whole world."""
        now = self.now()
        match fault:
            case Fault.OUTAGE:
                length = self.random.choice((60.0, 900.0, 3600.0, 7200.0))
                self._outage_until = now + length
                self.trace("world", "OUTAGE", detail=length)
            case Fault.SUSPEND:
                self._suspend(self.random.uniform(0.05, 9) * 3600)
            case Fault.CLOCK_STEP:
                step = self.random.choice((-5.0, -1.0, -0.1, 0.1, 1.0, 5.0)) * 3600
                self.trace("world", "CLOCK STEP", detail=step)
                self.clock.step(timedelta(seconds=step))
                self.checks.clock_stepped()
            case Fault.NETWORK_CHANGE:
                self.trace("world", "NETWORK CHANGE")
                self.checks.woke()
                for process in self.running():
                    process.manager.network_changed()
            case Fault.TERMINATED:
                if not self._terminate():
                    return
            case _:
                self._befall_login(fault)
        self.faults.count(fault)

    def _befall_login(self, fault: Fault) -> None:
        server = self.random.choice(self.provider.families()).server
        self.trace("world", fault.name, server)
        if fault is Fault.TOKEN_REVOKED:
            self.provider.revoke_access(server)
        elif fault is Fault.LOGIN_ENDED:
            self.provider.end(server, self.now())

    def _suspend(self, seconds: float) -> None:
        """The lid is closed: time goes on, nothing of ours does, connections break."""
        self.trace("world", "SUSPEND", detail=f"{seconds:.0f}")
        for flight in self.flights:
            flight.cut()
        self.provider.outlive()
        self.clock.sleep(timedelta(seconds=seconds))
        self.checks.woke()

    def _terminate(self) -> bool:
        """SIGTERM for one; not on a full disk, where what is in its hands could not be saved."""
        if self.now() < self.full_until or not self.running():
            return False
        process = self.random.choice(self.running())
        self.trace(process.name, "SIGTERM")
        stop = process.run(process.terminate())
        stop.set_name("SIGTERM")
        return True

    # --- people -------------------------------------------------------------------------------

    async def log_in(self, login: Login) -> None:
        """A person logs in: a new grant in the place of whatever was there."""
        server = login.server
        access, refresh = self.provider.log_in(login, self.now())
        grant = self._grant(login, access, refresh)
        self.trace("world", "LOGIN", server)
        self._older.pop(server, None)
        await self.vault.replace_grant(grant)
        self._remember(grant)
        self.checks.logged_in(server)
        for process in self.running()[:1]:
            process.manager.adopt(grant)

    async def log_in_again(self) -> int:
        """People whose login is over, and who were told so, log in again some time; how many of
        them lost it on the way.
        """
        lost, now = 0, self.now()
        for family in self.provider.families():
            if family.ended is None or not self.checks.is_noticed(family):
                continue
            log_in_at = self._log_in_at.setdefault(
                family.server, now + self.random.uniform(*PATIENCE)
            )
            if now >= log_in_at:
                del self._log_in_at[family.server]
                lost += family.lost_in_transit
                await self.log_in(family.login)
        return lost

    def saved(self, grant: Grant) -> None:
        """The store says that this is durable."""
        before = self.durable[grant.server]
        self._older[grant.server] = (before, self.now())
        self.checks.saved(before, grant)
        self._remember(grant)

    def lagging(self, server: str) -> Grant | None:
        """What a replica that lags may still answer."""
        older, saved_at = self._older.get(server, (None, 0.0))
        return older if self.now() - saved_at < READ_LAG else None

    def _remember(self, grant: Grant) -> None:
        before = self.durable.get(grant.server)
        self.durable[grant.server] = grant
        if before is None or before.tokens is not grant.tokens:
            self.saved_at[grant.server] = self.now()
            tokens = self.stored_tokens.setdefault(grant.server, deque(maxlen=REMEMBERED_TOKENS))
            tokens.append(grant.tokens.access_token)

    def _grant(self, login: Login, access: str, refresh: str) -> Grant:
        now = self.clock.now()
        client = ClientRegistration(
            ISSUER, "sim", RegistrationSource.DYNAMIC, "http://127.0.0.1:1/oauth/callback"
        )
        expires_at = now + timedelta(seconds=login.life)
        return Grant(
            server=login.server,
            server_url=server_url(login.server),
            issuer=ISSUER,
            token_endpoint=f"{ISSUER}/token/{login.server}",
            client=client,
            tokens=TokenSet(
                Secret(access),
                Secret(refresh),
                now,
                None if login.expiry is Expiry.MISSING else expires_at,
            ),
            logged_in_at=now,
            login_id=f"login-{login.server}-{self.now():.3f}",
        )

    # --- callers ------------------------------------------------------------------------------

    def call(self, server: str) -> None:
        """One tool call somewhere: take the token, use it, be challenged, perhaps go away."""
        running = self.running()
        if not running:
            return
        process = self.random.choice(running)
        task = process.run(self.use(process, server))
        if self.faults.caller_gone():
            self._loop.call_later(self.faults.between(0.0, 2.0), task.cancel)

    async def use(self, process: Process, server: str) -> None:
        manager, url = process.manager, server_url(server)
        try:
            token = await manager.token(server, url)
            if token is None:
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
        except StoreUnavailable as error:
            self.checks.fail(server, f"a caller was told of the store: {error}")

    def works(self, server: str, token: Secret) -> bool:
        return self.provider.family(server).knows_access(token.reveal(), self.now())
