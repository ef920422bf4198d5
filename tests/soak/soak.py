"""Custody, the vault, the bus, the metrics and the log for a hundred thousand refreshes.

Law: everything under test is the product's own and runs in virtual time; the provider remembers
one token a login, so that nothing here can grow but what is under test.
"""

import asyncio
import gc
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import parse_qs

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, Grant, RefreshFailure
from mcpproxy.core.policy import DEFAULT_POLICY
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.observability.bus import Bus
from mcpproxy.observability.metrics import Metrics
from mcpproxy.observability.refresh_log import RefreshLog
from mcpproxy.storage.engines import Opening, open_sqlite
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.runner import InlineRunner
from tests.builders import SERVER_URL, a_grant, a_token_set
from tests.simulation.clock import SimClock

LOGINS: Final = 8
LIFE: Final = 300
TICK: Final = timedelta(seconds=30)
TROUBLE: Final = 0.1
"""Part of the requests that fail: half before they are processed, half with their answer lost."""

LOST: Final = NoReply(RefreshFailure(FailureKind.UNKNOWN, "no answer within 20 s"))
DOWN: Final = HttpReply(503, {}, b"")


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of this process."""

    objects: int
    resident_kib: int
    descriptors: int
    tasks: int
    vault_bytes: int


class Provider:
    """The port HttpSender: takes the last token of a login, and the one before it."""

    def __init__(self) -> None:
        self._random = Random(1)
        self._serial: dict[str, int] = {}
        self.refreshes = 0
        self.refused = 0

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> HttpReply | NoReply:
        await asyncio.sleep(0.1)
        if before_send is not None:
            await before_send()
        trouble = self._random.random()
        if trouble < TROUBLE / 2:
            return DOWN
        name, _, number = parse_qs(request.body.decode())["refresh_token"][0].rpartition("#")
        serial = self._serial.get(name, 1)
        if int(number) not in (serial, serial - 1):
            self.refused += 1
            return HttpReply(400, {}, b'{"error":"invalid_grant"}')
        self._serial[name] = serial = int(number) + 1
        self.refreshes += 1
        if trouble < TROUBLE:
            return LOST
        body = {
            "access_token": f"access-{name}-{serial}",
            "refresh_token": f"{name}#{serial}",
            "expires_in": LIFE,
        }
        return HttpReply(200, {"content-type": "application/json"}, json.dumps(body).encode())


async def soak(vault_dir: Path, *, warm_up: int, refreshes: int) -> tuple[Size, Size, Provider]:
    """The sizes after the warm-up, and after so many refreshes more."""
    clock, provider = SimClock(asyncio.get_running_loop()), Provider()
    bus = Bus(clock)
    vault = await open_sqlite(
        Opening(data_dir=vault_dir, keys=StaticKey(), clock=clock, runner=InlineRunner)
    )
    for n in range(LOGINS):
        await vault.store.replace_grant(_login(f"server-{n}", clock))
    attempts = count()
    manager = RefreshManager(
        RefreshTools(
            journal=Journal(vault.store, clock, bus),
            lease=vault.lease,
            provider=TokenEndpoint(provider, clock),
            clock=clock,
            publisher=bus,
            policy=DEFAULT_POLICY,
            holder="soak",
            new_attempt_id=lambda: f"attempt-{next(attempts)}",
            may_send=lambda: True,
        ),
        tick=TICK,
    )
    metrics = Metrics(clock, lambda: {}, manager.grant, {})
    for hear in (RefreshLog().hear, metrics.hear):
        bus.hear(hear)
    await manager.start()
    await _use_until(manager, provider, warm_up)
    before = _size(vault_dir)
    await _use_until(manager, provider, warm_up + refreshes)
    after = _size(vault_dir)
    await manager.stop()
    await vault.store.close()
    return before, after, provider


async def _use_until(manager: RefreshManager, provider: Provider, refreshes: int) -> None:
    """Callers come and go, some of them before they are served."""
    random = Random(2)
    while provider.refreshes < refreshes:
        await asyncio.sleep(random.uniform(5, 25))
        server = f"server-{random.randrange(LOGINS)}"
        call = asyncio.create_task(manager.token(server, SERVER_URL))
        await asyncio.sleep(random.choice((0.0, 0.2)))
        call.cancel()
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()


def _login(name: str, clock: SimClock) -> Grant:
    now = clock.now()
    tokens = a_token_set(issued_at=now, life=timedelta(seconds=LIFE), refresh_token=f"{name}#1")
    return a_grant(name, tokens=tokens, logged_in_at=now, login_id=name)


def _size(vault_dir: Path) -> Size:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Size(
        objects=len(gc.get_objects()),
        resident_kib=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        descriptors=len(os.listdir("/proc/self/fd")),
        tasks=len(asyncio.all_tasks()),
        vault_bytes=sum(path.stat().st_size for path in vault_dir.iterdir()),
    )
