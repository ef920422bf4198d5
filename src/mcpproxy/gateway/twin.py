"""The older era of an upstream that speaks both, for clients of that era.

Law: a client is served in its own era where the upstream has it: what is written for both may ask
its clients back in the older one only. Without it everything goes the way of the newer one.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.core.model import Transport
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.failures import NotMcp
from mcpproxy.gateway.legacy_session import LegacySession
from mcpproxy.gateway.link import Site
from mcpproxy.gateway.session import Listener, Session
from mcpproxy.gateway.transports import TRANSPORTS
from mcpproxy.gateway.wishes import Wishes

# After an attempt that failed for a reason which may pass.
_AGAIN_AFTER_SECONDS: Final = 30.0


class Twin:
    """A session that is made when a client first needs it."""

    def __init__(
        self,
        site: Site,
        listener: Listener,
        wishes: Wishes,
        retire: Callable[[Session], None],
    ) -> None:
        self._site = site
        self._listener = listener
        self._wishes = wishes
        self._retire = retire
        self._transport: Transport | None = None
        self._session: LegacySession | None = None
        self._making = asyncio.Lock()
        self._not_before = 0.0

    def begin(self, session: Session, transport: Transport) -> None:
        """There is a connection now, of which this may be the twin: a process has one era only."""
        if session.era is Era.MODERN and transport is not Transport.STDIO:
            self._transport, self._not_before = transport, 0.0

    @property
    def current(self) -> Session | None:
        return self._session

    def is_awaited_beside(self, main: Session | None) -> bool:
        """Whether anybody waits for an answer on the main session or on this one."""
        return any(each is not None and each.awaited for each in (main, self._session))

    async def notify(self, method: str, params: Raw | None) -> None:
        if self._session is not None:
            await self._session.notify(method, params)

    async def session(self) -> Session | None:
        """None when there is none, or none now."""
        if self._is_due():
            async with self._making:
                if self._is_due():
                    self._session = await self._made()
        return self._session

    def _is_due(self) -> bool:
        possible = self._session is None and self._transport is not None
        return possible and self._now() >= self._not_before

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def ended(self, session: Session) -> None:
        """The session is of no more use; the next client that needs one makes another."""
        if session is self._session:
            self._session = None
            self._retire(session)

    def end(self) -> None:
        """Its upstream is gone, or looked at anew."""
        self._transport = None
        if self._session is not None:
            self.ended(self._session)

    async def close(self) -> None:
        self._transport = None
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _made(self) -> LegacySession | None:
        transport = self._transport or Transport.HTTP
        session = LegacySession(self._listener, self._site.limits)
        try:
            async with asyncio.timeout(self._site.limits.tcp_timeout.total_seconds()):
                await session.begin(await TRANSPORTS[transport](self._site, session))
                await self._wishes.tell_older(session.request)
            if self._transport is not None:
                return session
        except (NotMcp, ProtocolError):
            self._transport = None  # it has no older era
        except (McpproxyError, TimeoutError):
            self._not_before = self._now() + _AGAIN_AFTER_SECONDS
        except BaseException:
            await session.close()
            raise
        await session.close()
        return None
