"""Whether a server that gave reason to doubt it is still there.

Law: nobody is asked without a reason, and one question at a time. What answers anything is there.
A server that is only silent may be busy: it is shown as such, and given up after a long while in
which nobody waited for it.
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
    """Of the sessions with one upstream. `awaited` says whether anybody waits for it, within the
    time that was allowed.
    """

    def __init__(
        self, ended: Ended, silent: Silent, awaited: Callable[[], bool], limits: GatewayLimits
    ) -> None:
        self._ended = ended
        self._silent = silent
        self._awaited = awaited
        self._patience = limits.tcp_timeout.total_seconds()
        self._given_up_after = limits.silent_for.total_seconds()
        self._looked_at: set[Session] = set()
        self._watched: set[Session] = set()

    async def look(self, session: Session) -> None:
        """Its connection may be broken: it answers soon, or is given up."""
        if session in self._looked_at:
            return
        self._looked_at.add(session)
        try:
            failure = await self._beat(session)
        finally:
            self._looked_at.discard(session)
        if failure is not None:
            self._give_up(session, failure, self._patience)

    async def watch(self, session: Session) -> None:
        """It did not answer in time: until it answers something, or was silent for too long."""
        if session in self._watched:
            return
        self._watched.add(session)
        try:
            await self._until_clear(session)
        finally:
            self._watched.discard(session)

    async def _until_clear(self, session: Session) -> None:
        now = asyncio.get_running_loop().time
        begun = last = now()
        while (failure := await self._beat(session)) is not None:
            is_awaited = self._awaited()
            last = now() if is_awaited else last
            is_over = not is_awaited and now() - last >= self._given_up_after
            if is_over or not isinstance(failure, TimeoutError):
                return self._give_up(session, failure, now() - begun)
            self._silent(session, _silence(now() - begun))
            await asyncio.sleep(self._patience)
        self._silent(session, _ALIVE)

    def _give_up(
        self, session: Session, failure: LinkFailed | TimeoutError, seconds: float
    ) -> None:
        match failure:
            case SessionForgotten():
                self._ended(session, failure)
            case TimeoutError():
                self._ended(session, NotSent(_silence(seconds)))
            case _:
                self._ended(session, NotSent(failure.message))

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


def _silence(seconds: float) -> str:
    return f"no answer to a ping for {seconds:.0f} s"
