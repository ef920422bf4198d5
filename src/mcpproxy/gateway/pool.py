"""All upstreams of the gateway: started, stopped, replaced when their configuration changes.

Law: only what changed restarts; starting waits for nobody.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from mcpproxy.core.connection import Connection
from mcpproxy.core.errors import UnknownServer, UpstreamError, UpstreamUnavailable
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import is_offered
from mcpproxy.gateway.admission import Admission
from mcpproxy.gateway.catalog import Stock
from mcpproxy.gateway.items import Kind
from mcpproxy.gateway.means import Means
from mcpproxy.gateway.offers import NOTHING, Offer
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members


class Audience(Protocol):
    """Who tells the clients. Both return at once."""

    def listed(self, server: str, kinds: frozenset[Kind]) -> None:
        """It connected, changed or went; what it offers of these kinds is different now."""
        ...

    def notified(
        self, server: str, method: str, message: Members, about: frozenset[str]
    ) -> None: ...


class Pool:
    """Live upstreams by name; what they offer is in `stock`."""

    def __init__(
        self, means: Means, stock: Stock, audience: Audience, admission: Admission
    ) -> None:
        self._means = means
        self._stock = stock
        self._admission = admission
        self._audience = audience
        self._configured: dict[str, Upstream] = {}
        self._live: dict[str, LiveUpstream] = {}
        self._changing = asyncio.Lock()
        self._started_at = timedelta(0)

    def __iter__(self) -> Iterator[LiveUpstream]:
        return iter(self._live.values())

    def __len__(self) -> int:
        return len(self._live)

    @property
    def names(self) -> Iterable[str]:
        """Of all servers that are configured, offered or not."""
        return self._configured

    def find(self, server: str) -> LiveUpstream | None:
        return self._live.get(server)

    def get(self, server: str) -> LiveUpstream:
        """Raises UnknownServer, or UpstreamUnavailable for one that is not offered."""
        live = self._live.get(server)
        if live is not None:
            return live
        if server not in self._configured:
            raise UnknownServer(f"no server is called {server}", next_step="mcpproxy upstream list")
        why = "disabled" if not self._configured[server].enabled else "quarantined"
        raise UpstreamUnavailable(f"{server} is {why}")

    def connection(self, server: str) -> Connection:
        live = self._live.get(server)
        return Connection() if live is None else live.connection

    async def apply(self, upstreams: Mapping[str, Upstream]) -> None:
        """Make the live upstreams those that are configured; what is unchanged is left alone."""
        async with self._changing:
            gone = {
                name: live
                for name, live in self._live.items()
                if upstreams.get(name) != live.upstream
            }
            self._configured = dict(upstreams)
            self._started_at = self._means.clock.elapsed()
            for name in gone:
                del self._live[name]
                self._admission.gone(name)
                self._offer(name, NOTHING)
            for name, upstream in upstreams.items():
                if is_offered(upstream) and name not in self._live:
                    self._live[name] = LiveUpstream(upstream, self._means, self)
                    if name not in gone:
                        self._live[name].start()
            await asyncio.gather(*(self._succeed(live) for live in gone.values()))

    async def settled(self) -> None:
        """Once whatever is being restarted now has been."""
        await asyncio.sleep(0)  # who restarts it may have been told in this very moment
        async with self._changing:
            return

    async def restart(self, server: str) -> None:
        """Stop and start one upstream. Raises as `get`."""
        async with self._changing:
            live = self.get(server)
            self._live[server] = LiveUpstream(live.upstream, self._means, self)
            await self._succeed(live)

    async def _succeed(self, old: LiveUpstream) -> None:
        """Its successor, if there is one, starts when the old one is gone: two might collide."""
        successor = self._live.get(old.name)
        became = "switched off" if successor is None else "restarted"
        await old.stop(f"{old.name} was {became}")
        if successor is not None:
            successor.start()

    async def tried(self) -> None:
        """Once every upstream had its first try, or `first_list_wait` after the last start."""
        await self._soon(LiveUpstream.tried)

    async def offered(self) -> None:
        """The same, and every upstream that is there was asked for all that it offers."""
        await self._soon(LiveUpstream.offered)

    async def offered_by(self, live: LiveUpstream) -> None:
        """The same of one, within the time that a call waits for a connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._means.limits.reconnect_wait.total_seconds()):
                await live.offered()

    async def _soon(self, done: Callable[[LiveUpstream], Awaitable[None]]) -> None:
        since = self._means.clock.elapsed() - self._started_at
        left = self._means.limits.first_list_wait - since
        if left > timedelta(0) and self._live:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left.total_seconds()):
                    await asyncio.gather(*(done(live) for live in self._live.values()))

    def wake(self, server: str | None = None) -> None:
        """Try now whatever waits for its next try: all upstreams, or one."""
        for live in self._live.values():
            if server is None or live.name == server:
                live.wake()

    def cut_off(self, why: str) -> None:
        """Whoever waits for an upstream is answered now."""
        for live in self._live.values():
            live.under_way.cut_off(why)

    async def stop(self) -> None:
        await self.apply({})

    # --- what the upstreams say -----------------------------------------------------------

    def listed(self, upstream: LiveUpstream) -> None:
        if self._live.get(upstream.name) is upstream:
            offer = upstream.offer
            tools = self._admission.admitted(upstream.name, offer.tools)
            self._offer(upstream.name, replace(offer, tools=tools))

    def check(self, upstream: LiveUpstream, call: Call) -> None:
        if call.method != "tools/call" or call.params is None:
            return
        name = jsonrpc.text(call.params.get("name"))
        if self._stock.tools.find(f"{upstream.name}:{name}") is None:
            raise UpstreamError(
                f"{upstream.name} has reconnected, and does not offer this tool any more",
                next_step="list the tools again; `mcpproxy tools approve` shows what waits",
            )

    def readmit(self, server: str | None = None) -> None:
        """Look again at what is offered: by one server, or by all that ever said what they have."""
        for live in list(self._live.values()):
            if server in (None, live.name) and live.agreed is not None:
                self.listed(live)

    def notified(
        self, upstream: LiveUpstream, method: str, message: Members, about: frozenset[str]
    ) -> None:
        self._audience.notified(upstream.name, method, message, about)

    def _offer(self, server: str, offer: Offer) -> None:
        self._audience.listed(server, self._stock.replace(server, offer))
