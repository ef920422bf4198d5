"""What the custody tests run on: the real custody, oauth and memory-store code in virtual time,
a token endpoint that answers as it is told, and disks that can be full.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import wraps
from typing import TypeVar
from urllib.parse import parse_qs

from mcpproxy.core.errors import StoreError, StoreTrouble, StoreUnavailable, WrongKey
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.lifecycle import plan
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure
from mcpproxy.core.notices import Notice
from mcpproxy.core.policy import DEFAULT_POLICY
from mcpproxy.core.ports import Clock, LeaseHold
from mcpproxy.core.provider_ports import ProviderRepair
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import Refresh, RefreshTools
from mcpproxy.custody.refresh_manager import TICK, RefreshManager
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.storage.holder import Holder, IsAlive
from mcpproxy.storage.memory import MemoryLease, MemoryStore, MemoryWorld
from tests.builders import a_grant, a_token_set
from tests.simulation.clock import SimClock
from tests.simulation.loop import run_virtually

NAME = "github-mcp"
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

_N = TypeVar("_N", bound=Notice)


def virtually(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Run this test to its end in virtual time."""

    @wraps(test)
    def run(*args: object, **options: object) -> None:
        run_virtually(test(*args, **options))

    return run


def tokens_reply(number: int, **changes: object) -> HttpReply:
    """Token set `number`, good for an hour."""
    body = {
        "access_token": f"access-{number}",
        "refresh_token": f"refresh-{number}",
        "token_type": "Bearer",
        "expires_in": 3600,
        **changes,
    }
    return HttpReply(200, {"content-type": "application/json"}, json.dumps(body).encode())


def error_reply(code: str = "invalid_grant", status: int = 400) -> HttpReply:
    body = json.dumps({"error": code}).encode()
    return HttpReply(status, {"content-type": "application/json"}, body)


UNREACHABLE = NoReply(RefreshFailure(FailureKind.NOT_SENT, "connection refused"))
NO_ANSWER = NoReply(RefreshFailure(FailureKind.UNKNOWN, "timeout"))


@dataclass
class Endpoint:
    """The token endpoint: `replies` in their order, the last one for ever; else new tokens.

    `presented` are the refresh tokens it saw, or the grant type of what needs none. While `gate`
    is set aside (an unset Event), no answer comes; `revoking` is the gate of revocations.
    """

    replies: list[HttpReply | NoReply] = field(default_factory=list)
    presented: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    revoking: asyncio.Event | None = None
    on_send: Callable[[], None] = lambda: None
    issued: int = 1

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> HttpReply | NoReply:
        await asyncio.sleep(0.05)
        reply = self._next()
        if isinstance(reply, NoReply) and reply.failure.kind is FailureKind.NOT_SENT:
            return reply
        if before_send is not None:
            await before_send()
        form = parse_qs(request.body.decode())
        if "token" in form:
            self.revoked += form["token"]
            if self.revoking is not None:
                await self.revoking.wait()
            return reply
        self.presented += form.get("refresh_token", form["grant_type"])
        self.urls.append(request.url)
        self.clients += form.get("client_id", [])
        self.on_send()
        if self.gate is not None:
            await self.gate.wait()
        return reply

    def _next(self) -> HttpReply | NoReply:
        if not self.replies:
            self.issued += 1
            return tokens_reply(self.issued)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class Disk(MemoryStore):
    """A memory store whose disk can be full, and which tells of every save. While `reading` is set
    aside, what was read of all grants does not arrive.
    """

    def __init__(self, world: MemoryWorld) -> None:
        super().__init__(world)
        self.is_full = False
        self.is_unreadable = False
        self.is_locked = False
        self.reading: asyncio.Event | None = None
        self.read = 0
        self.before_save: Callable[[Grant], None] = lambda grant: None

    async def load_grant(self, server: str) -> Grant | None:
        self._read()
        return await super().load_grant(server)

    async def load_grants(self) -> Sequence[Grant]:
        self._read()
        found = await super().load_grants()
        self.read += 1
        if self.reading is not None:
            await self.reading.wait()
        return found

    async def save_grant(
        self, grant: Grant, *, expected_revision: int | None, line: LedgerLine | None = None
    ) -> bool:
        self.before_save(grant)
        if self.is_full:
            raise StoreUnavailable("the disk is full", trouble=StoreTrouble.FULL)
        return await super().save_grant(grant, expected_revision=expected_revision, line=line)

    def _read(self) -> None:
        if self.is_unreadable:
            raise StoreUnavailable("the disk is failing")
        if self.is_locked:
            raise WrongKey("the keyring is locked")

    def damaged(self) -> Mapping[str, StoreError]:
        return {}


class LeaseOnDisk(MemoryLease):
    """A lease in the same vault: a full disk takes none."""

    def __init__(self, disk: Disk, clock: Clock, *, holder: Holder, is_alive: IsAlive) -> None:
        super().__init__(disk.world, clock, holder=holder, is_alive=is_alive)
        self._disk = disk

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        if self._disk.is_full:
            raise StoreUnavailable("the disk is full", trouble=StoreTrouble.FULL)
        return await super().acquire(name, ttl)


class Notices(list[Notice]):
    """The port Publisher: everything that was told, in its order."""

    def publish(self, notice: Notice) -> None:
        self.append(notice)

    def of(self, kind: type[_N]) -> list[_N]:
        return [notice for notice in self if isinstance(notice, kind)]


class Bench:
    """One vault, one token endpoint, and as many processes with custody as a test opens."""

    def __init__(self) -> None:
        self.world = MemoryWorld()
        self.disk = Disk(self.world)
        self.clock = SimClock(asyncio.get_running_loop())
        self.endpoint = Endpoint()
        self.notices = Notices()
        self.sending_allowed = True
        self.repair: ProviderRepair | None = None
        self.dead: set[str] = set()
        self._attempts = 0
        self._managers: list[RefreshManager] = []

    async def __aenter__(self) -> "Bench":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.disk.is_full = False
        if self.endpoint.gate is not None:
            self.endpoint.gate.set()
        for manager in self._managers:
            await manager.stop()

    def journal(self) -> Journal:
        return Journal(self.disk, self.clock, self.notices)

    def tools(self, name: str = "p1") -> RefreshTools:
        holder = Holder("boot", "pids", 1, "", name)
        lease = LeaseOnDisk(
            self.disk,
            self.clock,
            holder=holder,
            is_alive=lambda other: other.instance not in self.dead,
        )
        return RefreshTools(
            journal=self.journal(),
            lease=lease,
            provider=TokenEndpoint(self.endpoint, self.clock),
            clock=self.clock,
            publisher=self.notices,
            policy=DEFAULT_POLICY,
            holder=name,
            new_attempt_id=self._new_attempt_id,
            may_send=lambda: self.sending_allowed,
            repair=self.repair,
        )

    async def start(self, name: str = "p1", *, tick: timedelta = TICK) -> RefreshManager:
        """A process with custody, started."""
        manager = RefreshManager(self.tools(name), tick=tick)
        self._managers.append(manager)
        await manager.start()
        return manager

    def store(
        self,
        *,
        age: timedelta = timedelta(0),
        life: timedelta | None = HOUR,
        **changes: object,
    ) -> Grant:
        """A grant in the vault, whose access token was issued `age` ago."""
        issued_at = self.clock.now() - age
        tokens = a_token_set(issued_at=issued_at, life=life)
        grant = a_grant(NAME, tokens=tokens, logged_in_at=issued_at)
        return self.put(replace(grant, **changes))  # type: ignore[arg-type]

    def put(self, grant: Grant) -> Grant:
        self.world.grants[grant.server] = grant
        return grant

    @property
    def stored(self) -> Grant:
        return self.world.grants[NAME]

    def _new_attempt_id(self) -> str:
        self._attempts += 1
        return f"attempt-{self._attempts}"


async def until(fact: Callable[[], object], *, within: float = 60.0) -> None:
    """Wait in virtual time until `fact` holds."""
    async with asyncio.timeout(within):
        while not fact():  # noqa: ASYNC110 - a fact of the code under test, not an event of ours
            await asyncio.sleep(0.05)


async def one_refresh(bench: Bench) -> None:
    tools = bench.tools("p0")
    await Refresh(tools, NAME, lambda grant: plan(grant, bench.clock.now())).run()
