"""What gateway tests share: a gateway on a free port, upstreams to put behind it, and its ports."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn

from mcpproxy.core.connection import ConnectionState
from mcpproxy.core.control import Control
from mcpproxy.core.health import Health, Snapshot, assess
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.core.notices import Notice, ToolCalled
from mcpproxy.core.ports import ApprovalStore, Clock, TokenSource
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.gateway import Gateway
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.transports.outbound import FROM_ENVIRONMENT, Outbound
from tests.peers.process import free_port

DEADLINE = 20.0
FAST = GatewayLimits(
    reconnect_base=timedelta(milliseconds=50),
    reconnect_cap=timedelta(milliseconds=200),
    reconnect_wait=timedelta(seconds=5),
    call_timeout=timedelta(seconds=10),
    goodbye=timedelta(milliseconds=500),
)
KEY = "the-key"


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic())

    def suspended(self) -> timedelta:
        return timedelta(0)


@dataclass
class Recorder:
    """A Publisher and an UpstreamLog that remember."""

    notices: list[Notice] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def publish(self, notice: Notice) -> None:
        self.notices.append(notice)

    def write(self, server: str, line: str) -> None:
        self.lines.append(f"{server}: {line}")

    @property
    def calls(self) -> list[ToolCalled]:
        return [notice for notice in self.notices if isinstance(notice, ToolCalled)]


class NoTokens:
    """A TokenSource without any login."""

    def peek(self, server: str, url: str) -> Secret | None:
        return None

    async def token(self, server: str, url: str) -> Secret | None:
        return None

    async def challenged(self, server: str, url: str, rejected: Secret) -> Secret:
        raise AssertionError("nothing was sent that could have been rejected")

    async def accepted(self, server: str, token: Secret) -> None: ...


@dataclass
class Site:
    """A running gateway, as its clients and its owner see it."""

    gateway: Gateway
    url: str
    heard: Recorder

    async def connected(self, *servers: str) -> None:
        for server in servers:
            await until(
                lambda server=server: (
                    self.gateway.connection(server).state is ConnectionState.CONNECTED
                ),
                lambda server=server: f"{server}: {self.gateway.connection(server)}",
            )

    async def offered(self, *servers: str) -> None:
        """Until they were asked for all that they offer, and everybody was told."""
        await until(lambda: all(self.gateway._pool.get(name).is_offered for name in servers))
        await until(lambda: self.gateway._changes.is_quiet)


async def until(
    holds: Callable[[], bool], what: Callable[[], object] = lambda: "not so in time"
) -> None:
    """Wait for a fact, with a deadline."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, what()
        await asyncio.sleep(0.01)


def authenticate(scope: Mapping[str, Any]) -> Caller | None:
    """Everybody with the key is `owner`; `X-Caller` makes others for tests of sessions."""
    headers = dict(scope["headers"])
    if headers.get(b"x-api-key") != KEY.encode():
        return None
    return Caller(headers.get(b"x-caller", b"owner").decode())


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """An ASGI application on a free port of this process; its origin. `options` are uvicorn's."""
    port = free_port()
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=1,
        **options,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
    task = asyncio.create_task(server._serve())
    await until(lambda: server.started or task.done())
    try:
        yield f"{'https' if config.is_ssl else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def _ignore_lifespan(app: Any, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "lifespan":
        return await app(scope, receive, send)
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return None


def without_lifespan(app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await _ignore_lifespan(app, scope, receive, send)

    return wrapped


@asynccontextmanager
async def running(
    *upstreams: Upstream,
    tokens: TokenSource | None = None,
    limits: GatewayLimits = FAST,
    routing_mode: str = "direct",
    who: Callable[[Mapping[str, Any]], Caller | None] = authenticate,
    outbound: Outbound = FROM_ENVIRONMENT,
    control: Control | None = None,
    approvals: ApprovalStore | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> AsyncIterator[Site]:
    """A gateway over these upstreams, served on a free port. `options` are the gateway's."""
    heard = Recorder()
    gateway = Gateway(
        tokens=tokens or NoTokens(),
        clock=clock or RealClock(),
        publisher=heard,
        log=heard,
        health=lambda server: health(gateway, server),
        routing_mode=routing_mode,
        limits=limits,
        outbound=outbound,
        control=control,
        approvals=approvals,
        **options,
    )
    await gateway.start({upstream.name: upstream for upstream in upstreams})
    try:
        async with serving(without_lifespan(gateway.asgi(who))) as origin:
            try:
                yield Site(gateway, f"{origin}/mcp", heard)
            finally:
                gateway.end_streams()
    finally:
        await gateway.stop()


def health(gateway: Gateway, server: str) -> Health:
    return assess(Snapshot(connection=gateway.connection(server)), datetime.now(UTC))
