"""Two hundred expired logins at start, in real time: a real vault and real connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

import pytest

from mcpproxy.clock import SystemClock
from mcpproxy.core.errors import RefreshPending
from mcpproxy.core.http import HttpReply
from mcpproxy.core.model import Grant
from mcpproxy.core.notices import Notice
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.client import OAuthHttpSender
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.storage.engines import Opening, Vault, open_sqlite
from mcpproxy.storage.keys import StaticKey
from tests.builders import SERVER_URL, a_grant, a_token_set
from tests.custody.limited import LIMIT, LimitedProvider, busiest_second
from tests.proof import record

pytestmark = pytest.mark.anyio

LOGINS: Final = 200
STEADY: Final = RefreshPolicy(burst=1)
"""What a complaint leaves of a burst; without one the test is over in half a minute."""

HOUR: Final = timedelta(hours=1)
CALLERS: Final = 60


class Unheard:
    """The port Publisher."""

    def publish(self, notice: Notice) -> None:
        return None


@asynccontextmanager
async def served(provider: LimitedProvider) -> AsyncIterator[str]:
    """The provider's token endpoint on a real port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            form = parse_qs((await reader.readexactly(length)).decode())
            writer.write(_http(provider.answer(form["refresh_token"][0])))
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _http(reply: HttpReply) -> bytes:
    headers = {**reply.headers, "content-length": str(len(reply.body)), "connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} OK\r\n{lines}\r\n".encode() + reply.body


def expired(name: str, issuer: str, clock: SystemClock) -> Grant:
    issued_at = clock.now() - 2 * HOUR
    tokens = a_token_set(issued_at=issued_at, life=HOUR, refresh_token=f"{name}#1")
    return a_grant(
        name,
        issuer=issuer,
        token_endpoint=f"{issuer}/token",
        tokens=tokens,
        logged_in_at=issued_at,
        login_id=name,
    )


def custody(vault: Vault, clock: SystemClock) -> RefreshManager:
    return RefreshManager(
        RefreshTools(
            journal=Journal(vault.store, clock, Unheard()),
            lease=vault.lease,
            provider=TokenEndpoint(OAuthHttpSender(policy=DEFAULT_POLICY), clock),
            clock=clock,
            publisher=Unheard(),
            policy=STEADY,
            holder="storm",
            new_attempt_id=iter(map(str, range(10_000))).__next__,
            may_send=lambda: True,
        )
    )


async def call_now_and_then(manager: RefreshManager) -> list[float]:
    """Callers of logins from the end of the queue; seconds until each had its token."""
    loop, waited = asyncio.get_running_loop(), []

    async def call(name: str) -> None:
        began = loop.time()
        with suppress(RefreshPending):  # told when to call again; it counts as a long wait
            assert await manager.token(name, SERVER_URL) is not None
        waited.append(loop.time() - began)

    async with asyncio.TaskGroup() as callers:
        for n in range(CALLERS):
            callers.create_task(call(f"server-{LOGINS - 1 - n:03}"))
            await asyncio.sleep(0.35)
    return sorted(waited)


async def test_two_hundred_expired_logins_are_refreshed_within_the_providers_limit(
    tmp_path: Path,
) -> None:
    clock, provider = SystemClock(), LimitedProvider()
    vault = await open_sqlite(Opening(data_dir=tmp_path, keys=StaticKey(), clock=clock))
    async with served(provider) as issuer:
        for n in range(LOGINS):
            await vault.store.replace_grant(expired(f"server-{n:03}", issuer, clock))
        manager = custody(vault, clock)
        await manager.start()
        waited = await call_now_and_then(manager)
        async with asyncio.timeout(90):
            while len(provider.generations) < LOGINS:  # noqa: ASYNC110 - the provider's record
                await asyncio.sleep(0.1)
        await manager.stop()
    stored = {grant.server: grant for grant in await vault.store.load_grants()}
    await vault.store.close()
    assert provider.reused == []
    # A machine that stumbles sends some closer together than it began them: a complaint may come.
    known_by_then = provider.complained[0] + 1 if provider.complained else 0.0
    busiest = busiest_second([at for at in provider.asked if at >= known_by_then])
    assert busiest <= LIMIT
    assert all(grant.generation == 2 for grant in stored.values())
    p95 = waited[int(len(waited) * 0.95)]
    assert p95 <= 2.0
    record(
        "storm-real-time",
        goal="200 expired logins at start in real time: no loss, the limit of 10 a second kept, "
        "who is waited for goes first (p95 at most 2 s)",
        held="held",
        figures={
            "logins": LOGINS,
            "complaints (429)": len(provider.complained),
            "refreshes in the busiest second": busiest,
            "lost": len(provider.reused),
            "callers waited, p95 (s)": round(p95, 2),
            "all refreshed after (s)": round(provider.asked[-1] - provider.asked[0], 1),
        },
    )
