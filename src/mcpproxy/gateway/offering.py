"""What one upstream offers, listed when it connects and kept up to date from then on.

Law: an upstream is asked again when it says that something changed, and now and then even if it
says nothing; what it offered last stays until it offers something else.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.tools import Offer, list_offer
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

Request = Callable[[Call], Awaitable[Members]]

_CHANGED: Final = frozenset({"notifications/tools/list_changed"})
# After a list that failed.
_RETRY_SECONDS: Final = 30.0


class Offering:
    """`offer` is what there is now. `agreed` gives what the upstream declared while it is
    connected, else None; `changed` is called after `offer` became a different one.
    """

    def __init__(
        self,
        request: Request,
        agreed: Callable[[], Agreed | None],
        changed: Callable[[], None],
        log: Callable[[str], None],
        limits: GatewayLimits,
    ) -> None:
        self.offer = Offer()
        self._request = request
        self._agreed = agreed
        self._changed = changed
        self._log = log
        self._limits = limits
        self._stale = asyncio.Event()

    def put(self, offer: Offer) -> None:
        """What a new connection found."""
        for reason in offer.hidden:
            self._log(f"hidden tool {reason}")
        self.offer = offer

    def heard(self, method: str) -> bool:
        """Whether this notification says that a list changed: it is listed again then."""
        if method not in _CHANGED:
            return False
        self._stale.set()
        return True

    async def keep(self) -> None:
        """For ever."""
        while True:
            # Not every server says that its lists changed: they are asked now and then.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.relist_every.total_seconds()):
                    await self._stale.wait()
            self._stale.clear()
            agreed = self._agreed()
            if agreed is None:
                continue
            try:
                offer = await list_offer(self._request, agreed, self._limits)
            except McpproxyError as error:
                self._log(f"tools could not be listed again: {error.message}")
                self._stale.set()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if offer != self.offer:
                self.put(offer)
                self._changed()
            await asyncio.sleep(self._limits.relist_pause.total_seconds())
