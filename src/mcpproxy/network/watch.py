"""Notices that the machine's way to the world changed: another Wi-Fi, a cable, a VPN.

Law: only what is new is told, never what went. A burst is one change; a link that flaps is told
of less and less often; where the system says nothing by itself, the watch looks.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final

from mcpproxy.network.addresses import Addresses, local_addresses
from mcpproxy.network.netlink import Hear, Listener, listen
from mcpproxy.network.routes import Told

LOOK_S: Final = 2.0
"""Without news of the system's own. A look takes microseconds; sooner than a person tries again."""

SLOW_LOOK_S: Final = 15.0
"""Beside them: some changes, such as a rule for routes, are not told."""

QUIET_S: Final = 0.2
SETTLED_S: Final = 0.6
"""A burst is over after a moment of quiet; a network that comes up is told within a second."""

FIRST_GAP_S: Final = 1.0
LAST_GAP_S: Final = 30.0
"""Between two changes that are told, doubled while they follow upon each other."""

CALM_S: Final = 60.0
"""After which a change is no flapping any more."""

Listen = Callable[[Hear], Listener | None]


class NetworkWatch:
    """`async with` it, then wait for `fresh` again and again."""

    def __init__(
        self, addresses: Callable[[], Addresses] = local_addresses, listen: Listen = listen
    ) -> None:
        self._addresses = addresses
        self._listen = listen
        self._listener: Listener | None = None
        self._known = addresses()
        self._stirred = asyncio.Event()
        self._news = False
        self._told_at = float("-inf")
        self._gap = FIRST_GAP_S

    async def __aenter__(self) -> "NetworkWatch":
        self._listener = self._listen(self._hear)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._listener is not None:
            self._listener.close()

    async def fresh(self) -> None:
        """Return when there is a way to the world that was not there before."""
        while True:
            stirred = await self._stir(LOOK_S if self._listener is None else SLOW_LOOK_S)
            if not stirred and self._addresses() == self._known:
                continue
            await self._settle()
            if not self._look():
                continue
            await self._keep_distance()
            if self._known:
                return

    def _hear(self, told: Told) -> None:
        self._news = self._news or told is Told.NEWS
        self._stirred.set()

    def _look(self) -> bool:
        """Losing an address is no news to act on; gaining one is, and so is a new route if there
        is an address to use it with.
        """
        now = self._addresses()
        fresh = bool(now - self._known) or (self._news and bool(now))
        self._known = now
        self._news = self._news and not fresh
        return fresh

    async def _stir(self, within: float) -> bool:
        """Whether the system said something meanwhile."""
        try:
            async with asyncio.timeout(within):
                await self._stirred.wait()
        except TimeoutError:
            return False
        self._stirred.clear()
        return True

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + SETTLED_S
        while (left := end - loop.time()) > 0:
            if not await self._stir(min(QUIET_S, left)):
                return

    async def _keep_distance(self) -> None:
        """The first change is told at once, the next ones later and later, until there is calm."""
        loop = asyncio.get_running_loop()
        since = loop.time() - self._told_at
        if since > CALM_S:
            self._gap = FIRST_GAP_S
        else:
            await asyncio.sleep(max(0.0, self._gap - since))
            self._look()  # what came meanwhile is told with this one
            self._gap = min(self._gap * 2, LAST_GAP_S)
        self._told_at = loop.time()
