"""What one upstream offers, listed when it connects and kept up to date from then on.

Law: an upstream is asked again when it says that something changed, and now and then even if it
says nothing; what it offered last stays until it offers something else.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mcpproxy.core.connection import Connection
from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.items import Hidden, Item, Kind
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.offers import Listed, Offer, Request, list_items, list_tools
from mcpproxy.gateway.text import short
from mcpproxy.gateway.tools import Tool
from mcpproxy.gateway.wire.handshake import Agreed

_CHANGED: Final = {
    "notifications/tools/list_changed": frozenset({Kind.TOOLS}),
    "notifications/resources/list_changed": frozenset({Kind.RESOURCES, Kind.TEMPLATES}),
    "notifications/prompts/list_changed": frozenset({Kind.PROMPTS}),
}
_EVERYTHING: Final = frozenset(Kind)
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
        self.complete = asyncio.Event()
        """Every kind has been asked for, whatever came of it."""
        self._request = request
        self._agreed = agreed
        self._changed = changed
        self._log = log
        self._limits = limits
        self._due = asyncio.Event()
        self._stale: set[Kind] = set()
        self._again: asyncio.TimerHandle | None = None

    def connected(self, tools: Listed[Tool]) -> None:
        """A new connection found these tools; everything else is listed next."""
        self._put(tools)
        self._ask_for(_EVERYTHING - {Kind.TOOLS})

    def heard(self, method: str) -> bool:
        """Whether this notification says that a list changed: it is listed again then."""
        kinds = _CHANGED.get(method)
        if kinds is not None:
            self._ask_for(kinds)
        return kinds is not None

    async def keep(self) -> None:
        """For ever."""
        try:
            while True:
                await self._next()
        finally:
            if self._again is not None:
                self._again.cancel()

    async def _next(self) -> None:
        # Not every server says that its lists changed: they are asked now and then.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.relist_every.total_seconds()):
                await self._due.wait()
        self._due.clear()
        kinds, self._stale = self._stale or set(_EVERYTHING), set()
        agreed = self._agreed()
        if agreed is None:
            return
        before = self.offer
        failed = await self._list(kinds, agreed)
        self.complete.set()
        if self.offer != before:
            self._changed()
        if failed:
            self._again = asyncio.get_running_loop().call_later(
                _RETRY_SECONDS, self._ask_for, failed
            )
        await asyncio.sleep(self._limits.relist_pause.total_seconds())

    def _ask_for(self, kinds: frozenset[Kind]) -> None:
        self._stale |= kinds
        self._due.set()

    async def _list(self, kinds: set[Kind], agreed: Agreed) -> frozenset[Kind]:
        """List these side by side; which of them failed."""
        ordered = sorted(kinds)
        done = await asyncio.gather(*(self._list_one(kind, agreed) for kind in ordered))
        return frozenset(
            kind for kind, is_listed in zip(ordered, done, strict=True) if not is_listed
        )

    async def _list_one(self, kind: Kind, agreed: Agreed) -> bool:
        seconds = self._limits.list_timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                if kind is Kind.TOOLS:
                    self._put(await list_tools(self._request, agreed, self._limits))
                else:
                    self._put(await list_items(kind, self._request, agreed, self._limits))
        except McpproxyError as error:
            return self._failed(kind, error.message)
        except TimeoutError:
            return self._failed(kind, f"no answer within {seconds:g} s")
        return True

    def _failed(self, kind: Kind, reason: str) -> bool:
        self._hide(kind, (Hidden(kind, "(all)", f"could not be listed: {short(reason)}"),))
        return False

    def _put(self, listed: Listed[Tool] | Listed[Item]) -> None:
        self.offer = self.offer.having(listed)
        self._hide(listed.kind, listed.hidden)

    def _hide(self, kind: Kind, hidden: tuple[Hidden, ...]) -> None:
        for one in hidden:
            if one not in self.offer.hidden:
                self._log(f"hidden {one}")
        others = (known for known in self.offer.hidden if known.kind is not kind)
        self.offer = replace(self.offer, hidden=tuple(sorted((*others, *hidden), key=str)))


def counted(connection: Connection, offer: Offer) -> Connection:
    """The connection with what there is of it to count and to complain of."""
    return replace(
        connection,
        tool_count=len(offer.tools),
        hidden=len(offer.hidden),
        hidden_example=str(offer.hidden[0]) if offer.hidden else "",
    )
