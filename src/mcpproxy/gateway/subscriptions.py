"""Which clients want to hear of changes of which resources, and where these are subscribed to.

Law: an upstream is subscribed to once, whoever many clients want it, and as long as one does. Who
is told is known by the address that it asked for, so it hears of that address and no other.
A face does the asking: `resources/subscribe` with a `Client` whose key is the subscriber's, for
legacy clients and modern listens alike; whoever ends the subscriber calls `forget`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from mcpproxy.core.errors import McpproxyError, UpstreamUnavailable
from mcpproxy.gateway.items import MAX_URI
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

# A URI with the name of its server before it.
MAX_ADDRESS: Final = 2 * MAX_URI
_DONE: Final = b"{}"


class Watchable(Protocol):
    """The upstream's side. It subscribes again by itself after a reconnect."""

    async def subscribe(self, uri: str) -> Members:
        """The upstream's response. Raises McpproxyError."""
        ...

    async def unsubscribe(self, uri: str) -> Members: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscriber wants to hear of `uri` of a server, which it knows as `shown`."""

    key: str
    server: str
    uri: str
    shown: str


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of a change, under which URI."""

    shown: str
    to: frozenset[str]


@dataclass(slots=True, eq=False)
class _Watch:
    """One resource: its wishes, and the upstream at which it is subscribed to."""

    server: str
    uri: str
    wishes: set[Wish] = field(default_factory=set)
    held_at: Watchable | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Subscriptions:
    """All of them. `find` gives the upstream of a name, if it is there."""

    def __init__(self, find: Callable[[str], Watchable | None], limits: GatewayLimits) -> None:
        self._find = find
        self._limits = limits
        self._watches: dict[str, dict[str, _Watch]] = {}
        self._by_key: dict[str, set[Wish]] = {}
        self._chores: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return sum(len(wishes) for wishes in self._by_key.values())

    @property
    def watched(self) -> int:
        """The resources that somebody wants, or that are just being given up."""
        return sum(len(watches) for watches in self._watches.values())

    async def subscribe(self, wish: Wish) -> Members:
        """The response for the client. Raises McpproxyError."""
        if len(self._by_key.get(wish.key, ())) >= self._limits.max_subscriptions:
            most = self._limits.max_subscriptions
            return jsonrpc.error(
                jsonrpc.INVALID_PARAMS, f"A client subscribes to {most} resources at most"
            )
        if len(wish.uri) > MAX_URI or len(wish.shown) > MAX_ADDRESS:
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, f"A URI has {MAX_URI} characters at most")
        watch = self._watch(wish.server, wish.uri)
        watch.wishes.add(wish)
        self._by_key.setdefault(wish.key, set()).add(wish)
        refusal: Members | None = None
        is_held = False
        try:
            refusal = await self._hold(watch)
            is_held = refusal is None
        finally:
            if not is_held:
                self._drop(wish)
                self._let_go_later(watch)
        return jsonrpc.result(_DONE) if refusal is None else refusal

    async def unsubscribe(self, wish: Wish) -> Members:
        """The response for the client, also when it never subscribed."""
        self._drop(wish)
        watch = self._watches.get(wish.server, {}).get(wish.uri)
        if watch is not None:
            await self._let_go(watch)
        return jsonrpc.result(_DONE)

    def forget(self, key: str) -> None:
        """The subscriber is gone."""
        for wish in list(self._by_key.get(key, ())):
            self._drop(wish)
            watch = self._watches.get(wish.server, {}).get(wish.uri)
            if watch is not None:
                self._let_go_later(watch)

    def told(self, server: str, uri: str) -> list[Told]:
        """Who is to hear that this resource of the server changed: those who want it, or what it
        is a part of.
        """
        known = self._watches.get(server, {})
        watch = known.get(uri)
        watches = (
            [watch] if watch is not None else [w for w in known.values() if _holds(w.uri, uri)]
        )
        keys: dict[str, set[str]] = {}
        for watch in watches:
            for wish in watch.wishes:
                head = wish.shown.removesuffix(wish.uri)
                keys.setdefault(head + uri, set()).add(wish.key)
        return [Told(shown, frozenset(to)) for shown, to in keys.items()]

    def resume(self, server: str) -> None:
        """The server is there, perhaps as another upstream than before; or it is gone."""
        live = self._find(server)
        for watch in self._watches.get(server, {}).values():
            if live is None:
                watch.held_at = None
            elif watch.held_at is not live and watch.wishes:
                self._chore(self._hold, watch)

    async def stop(self) -> None:
        for chore in list(self._chores):
            chore.cancel()
        if self._chores:
            await asyncio.wait(self._chores)

    # --- at the upstream --------------------------------------------------------------------

    async def _hold(self, watch: _Watch) -> Members | None:
        """Subscribe at the upstream unless that is done; its refusal, if it refuses."""
        async with watch.lock:
            live = self._find(watch.server)
            if live is None:
                raise UpstreamUnavailable(f"{watch.server} is not there")
            if watch.held_at is live:
                return None
            response = await live.subscribe(watch.uri)
            if jsonrpc.error_of(response) is not None:
                return response
            watch.held_at = live
            return None

    async def _let_go(self, watch: _Watch) -> None:
        """Unsubscribe at the upstream when nobody is left who wants it."""
        async with watch.lock:
            if watch.wishes:
                return
            live, watch.held_at = watch.held_at, None
            try:
                if live is not None and live is self._find(watch.server):
                    # An upstream that is not there now is not told of it when it is back.
                    with contextlib.suppress(McpproxyError):
                        await live.unsubscribe(watch.uri)
            finally:
                self._unwatch(watch)
        if watch.wishes:
            # Somebody came while it was given up.
            await self._hold(watch)

    def _let_go_later(self, watch: _Watch) -> None:
        if not watch.wishes:
            self._chore(self._let_go, watch)

    # --- books ------------------------------------------------------------------------------

    def _watch(self, server: str, uri: str) -> _Watch:
        return self._watches.setdefault(server, {}).setdefault(uri, _Watch(server, uri))

    def _unwatch(self, watch: _Watch) -> None:
        of_server = self._watches.get(watch.server, {})
        if not watch.wishes and of_server.get(watch.uri) is watch:
            del of_server[watch.uri]
            if not of_server:
                del self._watches[watch.server]

    def _drop(self, wish: Wish) -> None:
        wishes = self._by_key.get(wish.key, set())
        wishes.discard(wish)
        if not wishes:
            self._by_key.pop(wish.key, None)
        watch = self._watches.get(wish.server, {}).get(wish.uri)
        if watch is not None:
            watch.wishes.discard(wish)

    def _chore(self, work: Callable[[_Watch], Awaitable[object]], watch: _Watch) -> None:
        task = asyncio.create_task(_quietly(work, watch))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


async def _quietly(work: Callable[[_Watch], Awaitable[object]], watch: _Watch) -> None:
    try:
        await work(watch)
    except McpproxyError:
        return  # what the upstream lacks now it is asked for again when it is back


def _holds(whole: str, part: str) -> bool:
    """Whether a URI lies below another one."""
    return part.startswith(whole) and (whole.endswith("/") or part[len(whole)] in "/?#")
