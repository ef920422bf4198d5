"""The simulated world: one store, some processes that share it, a provider, and trouble.

The custody, oauth and storage code in it is the real one. Processes die at I/O boundaries and
come back; what is durable is the store alone.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from mcpproxy.core.errors import StoreTrouble, StoreUnavailable, TokenUnavailable
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import (
    ClientRegistration,
    FailureKind,
    Grant,
    RefreshFailure,
    RegistrationSource,
    Secret,
    TokenSet,
)
from mcpproxy.core.notices import Notice, RefreshFailedNotice, RefreshSucceeded
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy
from mcpproxy.core.ports import Lease, LeaseHold, Store
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from tests.simulation.checks import Checks
from tests.simulation.faults import LOSES_THE_ANSWER, Fault, FaultRates, FaultSource
from tests.simulation.provider import Issue, Provider, Rotation

START = datetime(2026, 1, 1, tzinfo=UTC)
ISSUER = "https://auth.example.com"
STORY_LINES = 30

TICK = timedelta(seconds=30)
"""Virtual seconds cost real ones; the manager looks by itself when something is due."""


def server_url(server: str) -> str:
    return f"https://{server}.example.com/mcp"


@dataclass(frozen=True, slots=True)
class Login:
    """One login that the world begins with."""

    server: str
    rotation: Rotation
    life: float


class SimClock:
    """Virtual time for one host; `slept` is what its machine was suspended."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.slept = timedelta(0)
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time()) + self.offset

    def elapsed(self) -> timedelta:
        return timedelta(seconds=self._loop.time())

    def suspended(self) -> timedelta:
        return self.slept


class Process:
    """One process with custody. Once dead it does nothing any more, not even clean up."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.name = f"p{number}"
        self.alive = True
        self.attempts = 0
        self.callers: set[asyncio.Task[None]] = set()
        self.on_the_way: dict[str, Issue] = {}
        store, lease = world.open_engine(self)
        self.store = BoundStore(self, store)
        tools = RefreshTools(
            journal=Journal(self.store),
            lease=BoundLease(self, lease),
            provider=TokenEndpoint(Wire(self), world.clock),
            clock=world.clock,
            publisher=self,
            policy=world.policy,
            holder=self.name,
            new_attempt_id=self._new_attempt_id,
            may_send=lambda: True,
        )
        self.manager = RefreshManager(tools, tick=TICK)

    def _new_attempt_id(self) -> str:
        self.attempts += 1
        return f"{self.name}-{self.attempts}"

    def publish(self, notice: Notice) -> None:
        if not self.alive:
            return
        server = getattr(notice, "server", "*")
        self.world.trace(self.name, type(notice).__name__, server, _told(notice))
        if isinstance(notice, RefreshSucceeded):
            self.world.checks.succeeded(notice)
        elif isinstance(notice, RefreshFailedNotice):
            self.world.checks.failed(notice)

    def tasks(self) -> Iterator[asyncio.Task[None]]:
        manager = self.manager
        if manager._loop is not None:
            yield manager._loop
        for entry in manager._entries.values():
            if entry.refresh is not None:
                yield entry.refresh
        yield from self.callers

    def stored(self, grant: Grant) -> None:
        """A raw answer, or what was in it, is durable: it can no longer be lost on the way."""
        if grant.attempt is None or grant.attempt.answer is not None:
            issue = self.on_the_way.pop(grant.server, None)
            if issue is not None and not issue.excused:
                issue.delivered = True

    def die(self) -> None:
        """kill -9."""
        self.alive = False
        for task in list(self.tasks()):
            task.cancel()
        self.world.died(self)

    async def boundary(self, server: str, where: str) -> None:
        """Between us and the world. The dead get no further, not even to clean up."""
        world = self.world
        if self.alive and world.faults.crash(server, world.now()):
            world.trace(self.name, "CRASH", server, where)
            self.die()
        if not self.alive:
            raise asyncio.CancelledError


class BoundStore:
    """The engine behind boundaries: stale reads, a store that is full, death before and after."""

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store

    async def load_grant(self, server: str) -> Grant | None:
        await self._process.boundary(server, "load")
        world = self._process.world
        older = world.older.get(server)
        if older is not None and world.faults.stale():
            return older
        return await self._store.load_grant(server)

    async def load_grants(self) -> list[Grant]:
        await self._process.boundary("*", "load all")
        return list(await self._store.load_grants())

    async def save_grant(self, grant: Grant, *, expected_revision: int | None) -> bool:
        process, world = self._process, self._process.world
        await process.boundary(grant.server, "before save")
        world.maybe_fill_store()
        if world.now() < world.full_until:
            raise StoreUnavailable("the disk is full", trouble=StoreTrouble.FULL)
        before = await self._store.load_grant(grant.server)
        saved = await self._store.save_grant(grant, expected_revision=expected_revision)
        if saved and before is not None:
            world.older[grant.server] = before
            world.checks.saved(before, grant)
            process.stored(grant)
        await process.boundary(grant.server, "after save")
        return saved


class BoundLease:
    def __init__(self, process: Process, lease: Lease) -> None:
        self._process = process
        self._lease = lease

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        await self._process.boundary(name.removeprefix("grant:"), "acquire")
        return await self._lease.acquire(name, ttl)

    async def release(self, hold: LeaseHold) -> None:
        await self._process.boundary(hold.name.removeprefix("grant:"), "release")
        await self._lease.release(hold)


class Wire:
    """The network to the token endpoint: implements the port HttpSender."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> HttpReply | NoReply:
        process, world = self._process, self._process.world
        server = request.url.rsplit("/", 1)[-1]
        world.checks.exchange_began(server)
        fault = world.faults.wire(server, world.now()) if not world.is_down() else Fault.REFUSED
        world.trace(process.name, "exchange", server, fault or "")
        await asyncio.sleep(world.faults.between(0.01, 0.3))
        await process.boundary(server, "connected")
        if fault is Fault.REFUSED:
            return NoReply(RefreshFailure(FailureKind.NOT_SENT, "connection refused"))
        if before_send is not None:
            await before_send()
        await process.boundary(server, "before send")
        world.checks.presented(server)
        if fault is Fault.RESET_BEFORE:
            return NoReply(RefreshFailure(FailureKind.UNKNOWN, "connection reset"))
        early = _unprocessed(fault)
        if early is not None:
            return early
        await asyncio.sleep(world.faults.between(0.01, 0.3))
        reply, issue = world.provider.refresh(request, world.now())
        world.checks.processed(server)
        if issue is not None:
            process.on_the_way[server] = issue
        if issue is not None and fault in LOSES_THE_ANSWER:
            issue.excused = True
            world.faults.be_quiet(server, world.now())
        if fault is Fault.RESET_AFTER:
            return NoReply(RefreshFailure(FailureKind.UNKNOWN, "connection reset"))
        if fault is Fault.SILENCE_AFTER:
            await asyncio.sleep(world.policy.answer_timeout.total_seconds())
            return NoReply(RefreshFailure(FailureKind.UNKNOWN, "timeout"))
        if fault is Fault.SLOW:
            await asyncio.sleep(world.faults.between(11.0, 18.0))
        if fault is Fault.TRUNCATED:
            return HttpReply(200, reply.headers, reply.body[:20], complete=False)
        await asyncio.sleep(world.faults.between(0.01, 0.3))
        await process.boundary(server, "answer arrived")
        return reply


def _told(notice: Notice) -> object:
    failure = getattr(notice, "failure", None)
    at = getattr(notice, "at", None)
    return failure.detail if failure and at is None else at or ""


def _unprocessed(fault: Fault | None) -> HttpReply | None:
    """Answers that never reached the token endpoint's own code."""
    html = {"content-type": "text/html"}
    match fault:
        case Fault.HTTP_503:
            return HttpReply(503, html, b"<html>upstream unavailable</html>")
        case Fault.HTTP_429:
            return HttpReply(429, {"retry-after": "30"}, b"")
        case Fault.PORTAL:
            return HttpReply(200, html, b"<html>please accept the terms</html>")
        case Fault.BAD_JSON:
            return HttpReply(200, {"content-type": "application/json"}, b'{"ok": ')
        case Fault.ONE_OFF_REFUSAL:
            body = b'{"error":"invalid_grant","error_description":"not replicated yet"}'
            return HttpReply(400, {"content-type": "application/json"}, body)
        case _:
            return None


Engine = Callable[["World", Process], tuple[Store, Lease]]


class World:
    """Everything that is not the code under test, and the judge of it."""

    def __init__(
        self,
        seed: int,
        engine: Engine,
        *,
        rates: FaultRates | None = None,
        policy: RefreshPolicy = DEFAULT_POLICY,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.random = Random(seed)
        self.clock = SimClock(loop)
        self.policy = policy
        self.rates = rates or FaultRates()
        self.faults = FaultSource(Random(self.random.random()), self.rates)
        self.provider = Provider(Random(self.random.random()))
        self.older: dict[str, Grant] = {}
        self.last_login: dict[str, Grant] = {}
        self.in_transit = 0
        self.full_until = 0.0
        self.outages: list[tuple[float, float]] = []
        self.processes: list[Process] = []
        self.checks = Checks(self)
        self._engine = engine
        self._hash = hashlib.sha256()
        self._stories: dict[str, deque[str]] = {}
        self._number = 0
        self._restarts: set[asyncio.Task[None]] = set()
        self._loop = loop

    # --- time, trace, trouble -----------------------------------------------------------------

    def now(self) -> float:
        return self._loop.time()

    def trace(self, who: str, what: str, server: str = "*", detail: object = "") -> None:
        """One line of the trace: hashed always, and told again if this server's story is asked."""
        line = f"{self.now():.3f} {who} {what} {server} {detail}"
        self._hash.update(line.encode())
        self._stories.setdefault(server, deque(maxlen=STORY_LINES)).append(line)

    def story(self, server: str) -> list[str]:
        """The last that happened to this server, and to everybody."""
        lines = [*self._stories.get(server, ()), *self._stories.get("*", ())]
        return sorted(lines, key=lambda line: float(line.split(" ", 1)[0]))[-STORY_LINES:]

    def trace_hash(self) -> str:
        return self._hash.hexdigest()

    def is_down(self) -> bool:
        return any(begin <= self.now() < end for begin, end in self.outages)

    def maybe_fill_store(self) -> None:
        if self.now() >= self.full_until and self.faults.full():
            self.full_until = self.now() + self.faults.between(1.0, 120.0)
            self.faults.be_quiet("*", self.full_until)
            self.trace("world", "STORE FULL")

    def open_engine(self, process: Process) -> tuple[Store, Lease]:
        return self._engine(self, process)

    # --- processes ----------------------------------------------------------------------------

    async def begin(self, logins: list[Login], processes: int = 2) -> None:
        """Store the logins, start the processes."""
        first = Process(self, 0)
        for login in logins:
            await self.log_in(first, login)
        for _ in range(processes):
            await self.spawn()

    async def log_in(self, process: Process, login: Login) -> None:
        """A person logs in: a new grant in the place of whatever was there."""
        access, refresh = self.provider.log_in(login.server, login.rotation, login.life, self.now())
        grant = self.grant_for(login, access, refresh)
        before = await process.store._store.load_grant(login.server)
        if before is not None:
            self.last_login[login.server] = before
        self.older.pop(login.server, None)
        await process.store._store.replace_grant(grant)
        self.checks.logged_in(login.server)
        process.manager.adopt(grant)

    def grant_for(self, login: Login, access: str, refresh: str) -> Grant:
        now = self.clock.now()
        client = ClientRegistration(
            ISSUER, "sim", RegistrationSource.DYNAMIC, "http://127.0.0.1:1/oauth/callback"
        )
        tokens = TokenSet(Secret(access), Secret(refresh), now, now + timedelta(seconds=login.life))
        return Grant(
            server=login.server,
            server_url=server_url(login.server),
            issuer=ISSUER,
            token_endpoint=f"{ISSUER}/token/{login.server}",
            client=client,
            tokens=tokens,
            logged_in_at=now,
            login_id=f"login-{login.server}-{self.now():.3f}",
        )

    async def spawn(self) -> None:
        self._number += 1
        process = Process(self, self._number)
        self.processes.append(process)
        starting = asyncio.create_task(process.manager.start())
        process.callers.add(starting)
        with suppress(asyncio.CancelledError):
            await starting
        process.callers.discard(starting)

    def died(self, process: Process) -> None:
        self.processes.remove(process)
        for issue in process.on_the_way.values():
            # An answer on its way to a process, or not yet stored by it, dies with it.
            issue.excused = issue.excused or not issue.delivered
        self.faults.be_quiet("*", self.now())
        restart = asyncio.create_task(self._restart_later())
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)

    async def _restart_later(self) -> None:
        await asyncio.sleep(self.faults.between(0.2, 4.0))
        await self.spawn()

    # --- callers ------------------------------------------------------------------------------

    async def call(self, server: str) -> None:
        """One tool call somewhere: take the token, use it, be challenged, perhaps go away."""
        if not self.processes:
            return
        process = self.random.choice(self.processes)
        task = asyncio.create_task(self._call(process, server))
        process.callers.add(task)
        task.add_done_callback(process.callers.discard)
        if self.faults.caller_gone():
            await asyncio.sleep(self.faults.between(0.0, 2.0))
            task.cancel()

    async def _call(self, process: Process, server: str) -> None:
        manager, url = process.manager, server_url(server)
        with suppress(TokenUnavailable, StoreUnavailable):
            token = await manager.token(server, url)
            if token is None:
                return
            await self.checks.handed_out(process, server, token)
            if not self.provider.knows_access(token.reveal(), self.now()):
                self.checks.challenged(server)
                token = await manager.challenged(server, url, token)
                await self.checks.handed_out(process, server, token)

    @contextmanager
    def outage(self, begin: float, length: float) -> Iterator[None]:
        self.outages.append((begin, begin + length))
        yield
