"""A laptop with many logins, in virtual time: the real custody, network watch and reach watch,
between a lid that closes, a network that comes back late and strict providers.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from random import Random
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from mcpproxy.core.health import Health, Snapshot, assess
from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.model import FailureKind, RefreshFailure, Suspect
from mcpproxy.core.notices import LoginLost, Notice, Woke
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.network.reach import ReachWatch
from mcpproxy.network.routes import Told
from mcpproxy.oauth.probe import ProviderProbe
from tests.builders import SERVER_URL, a_grant, a_token_set
from tests.custody.bench import HOUR, Bench, Endpoint, Notices
from tests.network.machine import HOME, Machine

LATENCY_S = 0.15
JSON = {"content-type": "application/json"}
PAGE = HttpReply(200, {"content-type": "text/html"}, b"<html>Accept our terms</html>")
ANOTHER_NAME = NoReply(
    RefreshFailure(FailureKind.NOT_SENT, "TLS: hostname mismatch", suspect=Suspect.PORTAL)
)


class Air(Enum):
    """What is between this laptop and the providers."""

    OPEN = auto()
    NONE = auto()
    """No network: refused at once by our own system."""
    DEAF = auto()
    """A network that seems to be there and answers nothing: only the time limit ends an attempt."""
    PORTAL_TLS = auto()
    """A sign-in page with a certificate of its own."""
    PORTAL_PAGE = auto()
    """A sign-in page where the provider's name should be."""


class Providers(Endpoint):
    """Strict ones: a refresh token works once, and its second use ends the login. With `replays`
    the last one works until its successor is used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.air = Air.OPEN
        self.replays = False
        self.generations: dict[str, int] = defaultdict(lambda: 1)
        self.reached: dict[str, list[float]] = defaultdict(list)
        self.tried: dict[str, list[float]] = defaultdict(list)
        self.probed: dict[str, list[float]] = defaultdict(list)
        self.ended: set[str] = set()
        self.held: asyncio.Event | None = None
        """While set aside, nothing moves: a request waits before it is sent."""
        self.loses_answers = False
        self.takes_what_it_loses = False

    async def exchange(
        self,
        request: HttpRequest,
        *,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> HttpReply | NoReply:
        now = asyncio.get_running_loop().time()
        form = parse_qs(request.body.decode())
        name = form["refresh_token"][0].rpartition("#")[0] if form else None
        host = urlsplit(request.url).netloc
        (self.tried[name] if name else self.probed[host]).append(now)
        if self.held is not None:
            await self.held.wait()
        blocked = await self._way()
        if blocked is not None:
            return blocked
        if before_send is not None:
            await before_send()
        if self.air is Air.PORTAL_PAGE:
            return PAGE
        return await self._answer(form["refresh_token"][0] if form else None)

    async def _way(self) -> NoReply | None:
        match self.air:
            case Air.NONE:
                return NoReply(RefreshFailure(FailureKind.NOT_SENT, "network unreachable"))
            case Air.DEAF:
                await asyncio.sleep(5)
                return NoReply(RefreshFailure(FailureKind.NOT_SENT, "timeout"))
            case Air.PORTAL_TLS:
                await asyncio.sleep(LATENCY_S)
                return ANOTHER_NAME
            case Air.PORTAL_PAGE | Air.OPEN:
                await asyncio.sleep(LATENCY_S)
                return None

    async def _answer(self, token: str | None) -> HttpReply | NoReply:
        if token is None:
            return HttpReply(200, JSON, b'{"issuer": "it"}')
        name, _, number = token.rpartition("#")
        self.reached[name].append(asyncio.get_running_loop().time())
        if self.loses_answers:
            self.generations[name] += int(self.takes_what_it_loses)
            await asyncio.sleep(20)
            return NoReply(RefreshFailure(FailureKind.UNKNOWN, "timeout"))
        spent = self.generations[name] - int(number)
        if spent > (1 if self.replays else 0):
            self.ended.add(name)
        if name in self.ended:
            return HttpReply(400, JSON, b'{"error": "invalid_grant"}')
        self.generations[name] = int(number) + 1
        body = {
            "access_token": f"access-{name}-{int(number) + 1}",
            "refresh_token": f"{name}#{int(number) + 1}",
            "expires_in": 3600,
        }
        return HttpReply(200, JSON, json.dumps(body).encode())


class Heard(Notices):
    """Also tells the watch that listens to notices in the daemon."""

    hear: Callable[[Notice], None] = staticmethod(lambda notice: None)

    def publish(self, notice: Notice) -> None:
        super().publish(notice)
        self.hear(notice)


class Networked(Bench):
    """Its custody asks the machine whether there is any network."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def tools(self, name: str = "p1") -> RefreshTools:
        return replace(super().tools(name), is_online=lambda: bool(self.machine.addresses()))


@dataclass
class Morning:
    """What was seen after a wake, in seconds of the loop."""

    woke: float
    online: float
    usable: dict[str, float] = field(default_factory=dict)


class Laptop:
    """`async with` it: custody runs, every login is fresh and the network is there."""

    def __init__(self, logins: int, *, issuers: int) -> None:
        self.machine = Machine(HOME)
        self.bench = Networked(self.machine)
        self.providers = Providers()
        self.bench.endpoint = self.providers
        self.notices = Heard()
        self.bench.notices = self.notices
        self.names = [f"server-{n:02}" for n in range(logins)]
        for n, name in enumerate(self.names):
            self._store(name, f"https://auth-{n % issuers}.example.com")
        self._tasks: list[asyncio.Task[None]] = []
        self._manager: RefreshManager | None = None

    async def __aenter__(self) -> "Laptop":
        bench = self.bench
        manager = self._manager = await bench.start()
        probe = ProviderProbe(self.providers)
        back, chance = manager.reachable_again, Random(7).random
        reach = ReachWatch(manager.grants, probe.is_open, bench.clock, back, chance)
        self.notices.hear = reach.hear
        self._tasks = [asyncio.create_task(reach.run()), asyncio.create_task(self._follow())]
        await asyncio.sleep(1)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        self.providers.air = Air.OPEN
        if self.providers.held is not None:
            self.providers.held.set()
        await self.bench.__aexit__()

    @property
    def manager(self) -> RefreshManager:
        assert self._manager is not None
        return self._manager

    async def _follow(self) -> None:
        """As the daemon does."""
        async with self.machine.watch() as watch:
            while True:
                await watch.fresh()
                self.manager.network_changed()
                self.notices.publish(Woke("network", timedelta(0)))

    def _store(self, name: str, issuer: str) -> None:
        tokens = a_token_set(issued_at=self.bench.clock.now(), refresh_token=f"{name}#1")
        grant = a_grant(name, tokens=tokens, logged_in_at=tokens.issued_at, login_id=name)
        self.bench.put(replace(grant, issuer=issuer, token_endpoint=f"{issuer}/token"))

    # --- a night ----------------------------------------------------------------------------

    def leave(self, air: Air = Air.NONE) -> None:
        """The network goes, and its address with it if that can be seen from here."""
        self.providers.air = air
        if air is Air.NONE:
            self.machine.change()

    def sleep(self, span: timedelta = 8 * HOUR) -> Morning:
        """The lid was closed for so long; when it is opened there is no network yet."""
        self.bench.clock.sleep(span)
        now = asyncio.get_running_loop().time()
        return Morning(now, now)

    def join(self, air: Air = Air.OPEN) -> None:
        """The network is back: a route, an address, and what is behind them."""
        self.providers.air = air
        self.machine.change(HOME, told=Told.NEWS)

    async def until_usable(self, morning: Morning, *, within: float) -> None:
        """Note when each login's access token is usable again."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within):
            while len(morning.usable) < len(self.names):
                for name in self.names:
                    if name not in morning.usable and self.is_usable(name):
                        morning.usable[name] = loop.time()
                await asyncio.sleep(0.05)

    def is_usable(self, name: str) -> bool:
        """Whether a caller gets a token that the provider has issued last."""
        token = self.manager.peek(name, SERVER_URL)
        newest = f"access-{name}-{self.providers.generations[name]}"
        return token is not None and token.reveal() == newest

    def health(self, name: str) -> Health:
        grant = self.manager.grant(name)
        return assess(Snapshot(grant=grant, woken_at=self.manager.woken_at()), self.now())

    def now(self) -> datetime:
        return self.bench.clock.now()

    def is_refreshing(self) -> bool:
        return any(grant.attempt for grant in self.bench.world.grants.values())

    def probed_by_issuer(self) -> list[list[float]]:
        """When each provider was asked whether the way to it is open."""
        return [probed for probed in self.providers.probed.values() if probed]

    def lost(self) -> list[LoginLost]:
        return self.notices.of(LoginLost)

    @contextmanager
    def counted(self) -> Iterator[dict[str, int]]:
        """How many refreshes of each login reached its provider meanwhile."""
        before = {name: len(self.providers.reached[name]) for name in self.names}
        found: dict[str, int] = {}
        yield found
        found.update({n: len(self.providers.reached[n]) - before[n] for n in self.names})


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 100) * len(ordered) // 100) - 1)]
