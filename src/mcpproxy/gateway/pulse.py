"""Whether a server that gave reason to doubt it is still there.

Law: nobody is asked without a reason, and one question at a time. What answers anything is there.
A server that is only silent may be busy: it is shown as such, and given up after a long while.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mcpproxy.core.errors import McpproxyError
from mcpproxy.gateway.failures import LinkFailed, NotSent, SessionForgotten
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.session import Session

Ended = Callable[[Session, Exception], None]
"""Told of a session that is of no more use, and why."""
Silent = Callable[[Session, str], None]
"""Told how long a session has been silent, each time that it did not answer; "" when it did."""

_ALIVE: Final = ""


class Pulse:
    """Of the sessions with one upstream."""

    def __init__(self, ended: Ended, silent: Silent, limits: GatewayLimits) -> None:
        self._ended = ended
        self._silent = silent
        self._patience = limits.tcp_timeout.total_seconds()
        self._given_up_after = max(limits.silent_for, limits.call_timeout).total_seconds()
        self._asked: set[Session] = set()

    async def look(self, session: Session) -> None:
        """Its connection may be broken: it answers soon, or is given up."""
        await self._ask(session, 0.0)

    async def watch(self, session: Session) -> None:
        """It did not answer in time: until it answers something, or was silent for too long."""
        await self._ask(session, self._given_up_after)

    async def _ask(self, session: Session, given_up_after: float) -> None:
        if session in self._asked:
            return
        self._asked.add(session)
        try:
            await self._until_clear(session, given_up_after)
        finally:
            self._asked.discard(session)

    async def _until_clear(self, session: Session, given_up_after: float) -> None:
        now = asyncio.get_running_loop().time
        begun = now()
        while (failure := await self._beat(session)) is not None:
            silent_for = now() - begun
            said = f"no answer to a ping for {silent_for:.0f} s"
            if not isinstance(failure, TimeoutError):
                forgotten = isinstance(failure, SessionForgotten)
                return self._ended(session, failure if forgotten else NotSent(str(failure)))
            if silent_for >= given_up_after:
                return self._ended(session, NotSent(said))
            self._silent(session, said)
            await asyncio.sleep(self._patience)
        self._silent(session, _ALIVE)

    async def _beat(self, session: Session) -> LinkFailed | TimeoutError | None:
        """None when it answered, whatever that was."""
        try:
            async with asyncio.timeout(self._patience):
                await session.check()
        except (LinkFailed, TimeoutError) as failure:
            return failure
        except McpproxyError:
            return None
        return None
