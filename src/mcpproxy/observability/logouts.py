"""When a person logged out, for servers that have no login now: read from the ledger once, then
heard.

Law: only ever tells of a logout that was written down; not knowing is "not logged in".
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

from mcpproxy.core.errors import StoreError
from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.notices import LoggedOut, LoginSucceeded, Notice
from mcpproxy.core.ports import Clock

LoadLedger = Callable[[str, int], Awaitable[Sequence[LedgerLine]]]


class Logouts:
    """`logged_out_at` is asked at every look, so it costs nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: dict[str, datetime] = {}

    def logged_out_at(self, server: str) -> datetime | None:
        return self._at.get(server)

    def hear(self, notice: Notice) -> None:
        match notice:
            case LoggedOut(server):
                self._at[server] = self._clock.now()
            case LoginSucceeded(server):
                self._at.pop(server, None)
            case _:
                return

    async def recall(self, servers: Iterable[str], load: LoadLedger) -> None:
        """What the ledger says of these servers; a store that cannot be read says nothing."""
        for server in servers:
            try:
                lines = await load(server, 1)
            except StoreError:
                return
            if lines and lines[-1].outcome is Outcome.LOGGED_OUT:
                self._at.setdefault(server, lines[-1].at)
