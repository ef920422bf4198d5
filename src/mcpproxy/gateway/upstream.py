"""One upstream, kept connected: a state machine that never gives up.

Law: whoever needs the upstream (a call, a wake) makes the next attempt due at once; a session that
the upstream forgot is made anew under the caller's feet. What is repeated was never carried out.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Final

from msgspec import Raw

from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import McpproxyError, ProtocolError, TokenUnavailable, UpstreamTimedOut
from mcpproxy.core.model import Upstream
from mcpproxy.core.notices import ServersChanged
from mcpproxy.gateway.bearer import Bearer
from mcpproxy.gateway.client import Client
from mcpproxy.gateway.connect import Connected, connect
from mcpproxy.gateway.eras import EraMemory
from mcpproxy.gateway.failures import (
    Broken,
    Forbidden,
    LinkFailed,
    Misconfigured,
    NotSent,
    SessionForgotten,
    Unauthorized,
    silent,
    trouble_of,
    unavailable,
)
from mcpproxy.gateway.limits import reconnect_delay
from mcpproxy.gateway.link import Site
from mcpproxy.gateway.means import Means, Observer
from mcpproxy.gateway.offering import Offering, counted
from mcpproxy.gateway.offers import Offer
from mcpproxy.gateway.pulse import Pulse
from mcpproxy.gateway.scrub import Scrubber
from mcpproxy.gateway.session import NOBODY, Call, Session
from mcpproxy.gateway.text import short
from mcpproxy.gateway.throttle import LineThrottle
from mcpproxy.gateway.twin import Twin
from mcpproxy.gateway.under_way import UnderWay
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members
from mcpproxy.gateway.wishes import UPDATED, Wishes

# No sleep is trusted for longer: the machine may have slept meanwhile.
_LONGEST_SLEEP: Final = timedelta(seconds=30)
_TELL_DROPPED_EVERY: Final = 5.0


class LiveUpstream:
    """One configured upstream and its connection. `connection` are the facts of it now."""

    def __init__(self, upstream: Upstream, means: Means, observer: Observer) -> None:
        self.upstream = upstream
        self.name = upstream.name
        self.connection = Connection()
        self.agreed: Agreed | None = None
        self.challenge: str | None = None
        self._means = means
        self._observer = observer
        self.scrub = Scrubber(upstream)
        self.under_way = UnderWay(self.name)
        self._offering = Offering(
            self.request, self._listable, self._offer_changed, self._log, means.limits
        )
        self._said = LineThrottle(self._log, time.monotonic, _TELL_DROPPED_EVERY)
        self._site = Site(
            upstream=upstream,
            bearer=Bearer(upstream, means.tokens, self.scrub),
            web=means.web,
            guard=means.guard,
            limits=means.limits,
            log=self._said.line,
        )
        self._pulse = Pulse(self.ended, self._silent, self._awaited, means.limits)
        self._era = EraMemory(upstream, means.memory, means.clock, means.limits.era_remembered)
        self._wishes = Wishes()
        self._session: Session | None = None
        self._twin = Twin(self._site, self, self._wishes, self._retire)
        self._why: McpproxyError | None = None
        self._due = asyncio.Event()
        self._lost: asyncio.Future[Exception] | None = None
        self._attempted: asyncio.Future[None] | None = None
        self._attempt_ended_at = timedelta(0)
        self._tried = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def offer(self) -> Offer:
        """What it offers, or offered when it was last there."""
        return self._offering.offer

    # --- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and never stop trying until `stop`; unless no trying mends it."""
        if self.upstream.problem is not None:
            self._misconfigured(self.upstream.problem)
            return
        self._spawn(self._keep_connected())
        self._spawn(self._offering.keep())

    def _misconfigured(self, problem: str) -> None:
        self._why = Misconfigured(problem)
        self._tried.set()
        self._log(problem)
        now, trouble = self._means.clock.now(), Trouble.CONFIGURATION
        self._set(Connection(ConnectionState.ERROR, 0, trouble, problem, since=now))

    async def stop(self, why: str) -> None:
        """End the connection; `why` is what those read who still wait."""
        self.under_way.over(why)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self._twin.close()
        self._said.tell()
        self._why = NotSent(why)
        self._attempt_over()
        self._set(Connection())

    def wake(self) -> None:
        """Something may be better now: try at once, or see whether the connection still lives."""
        self._due.set()
        if self._session is not None and self.upstream.url is not None:
            self._spawn(self._pulse.look(self._session))

    # --- calls ----------------------------------------------------------------------------

    async def request(self, call: Call, timeout: timedelta | None = None) -> Members:
        """The response of the upstream, an error response too.

        Raises UpstreamError (UpstreamTimedOut after `timeout`) or TokenUnavailable.
        """
        limit = self._means.limits.call_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit.total_seconds()) as deadline:
                with self.under_way:
                    return await self._request(call, deadline)
        except TimeoutError:
            if self._session is not None:
                self._spawn(self._pulse.watch(self._session))
            raise UpstreamTimedOut(
                f"{self.name} did not answer {call.method} within {limit.total_seconds():g} s",
                next_step="try again, or raise the call timeout",
            ) from None
        except McpproxyError as failure:
            self.scrub.error(failure)
            if not isinstance(failure, LinkFailed):
                raise
            if isinstance(failure, Unauthorized | Forbidden):
                self.challenge = failure.challenge
            raise self._unavailable(failure) from failure

    async def tried(self) -> None:
        """Returns once the first attempt to connect is over, whatever came of it."""
        await self._tried.wait()

    @property
    def is_offered(self) -> bool:
        """Whether it has been asked for everything that it offers."""
        return self._offering.complete.is_set()

    async def offered(self) -> None:
        """Returns once that is so, or it turned out not to be there."""
        await self._tried.wait()
        if self._session is not None:
            await self._offering.complete.wait()

    async def introduced(self) -> Agreed:
        """What the upstream said of itself, now or when it was last there. Raises as `request`."""
        if self.agreed is None:
            try:
                with self.under_way:
                    await self._ready()
            except LinkFailed as failure:
                raise self._unavailable(failure) from failure
        if self.agreed is None:
            raise self._unavailable(self._why)
        return self.agreed

    async def subscribe(self, uri: str) -> Members:
        """The response to a wish to hear of changes of a resource. Raises as `request`."""
        return await self._wishes.subscribe(uri, self.request, self._twin)

    async def unsubscribe(self, uri: str) -> Members:
        return await self._wishes.unsubscribe(uri, self.request, self._twin)

    async def set_log_level(self, level: str) -> Members:
        """The response to a wish for log messages of this level and above."""
        return await self._wishes.set_log_level(level, self.request, self._twin)

    async def notify(self, method: str, params: Raw | None) -> None:
        """Pass a notification on, if there is a session to pass it on to."""
        if self._session is not None:
            await self._session.notify(method, params)
            await self._twin.notify(method, params)

    async def _request(self, call: Call, deadline: asyncio.Timeout) -> Members:
        session, client = self._session, call.client
        if session is None:
            session = await self._session_for(client)
            self._observer.check(self, call)
        elif client is not None and client.era is not session.era:
            session = await self._session_for(client)
        try:
            return await session.request(call, deadline)
        except (SessionForgotten, NotSent) as failure:
            self.ended(session, failure)
        except Unauthorized as failure:
            self.ended(session, failure)
            raise
        except Broken:
            self._spawn(self._pulse.look(session))
            raise
        session = await self._session_for(client)
        self._observer.check(self, call)
        return await session.request(call, deadline)

    async def _session_for(self, client: Client | None) -> Session:
        """A session of the client's own era if there is one, else the other. Raises as `_ready`."""
        session = self._session or await self._ready()
        if client is None or client.era is session.era:
            return session
        return await self._twin.session() or session

    async def _ready(self) -> Session:
        """The session, after the attempt that is due now. Raises why there is none."""
        if self.upstream.problem is not None:
            raise Misconfigured(self.upstream.problem)
        limits = self._means.limits
        since = self._means.clock.elapsed() - self._attempt_ended_at
        if self._why is None or since >= limits.reconnect_base:
            self._due.set()
            if self._attempted is None:
                self._attempted = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.reconnect_wait.total_seconds()):
                    await asyncio.shield(self._attempted)
        if self._session is not None:
            return self._session
        if isinstance(self._why, TokenUnavailable | LinkFailed):
            raise self._why.with_traceback(None)
        raise self._unavailable(self._why)

    def _unavailable(self, why: McpproxyError | None) -> McpproxyError:
        return unavailable(self.name, why, self.connection.retry_at)

    # --- the machine ----------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            self._due.clear()
            self._trying()
            try:
                lasted = await self._one_connection()
                failures = 0 if lasted >= self._means.limits.settled_after else failures + 1
                if isinstance(self._why, SessionForgotten):
                    continue
            except McpproxyError as error:
                failures += 1
                self._why = self.scrub.error(error)
                self._attempt_over()
            delay = reconnect_delay(max(failures, 1), self._means.limits)
            self._failed(delay)
            await self._pause(delay)

    def _trying(self) -> None:
        """Shown while an attempt runs: no time of a next one, and no old trouble as if it were new;
        but a login that was needed stays so until a server says otherwise.
        """
        before, now = self.connection, self._means.clock.now()
        if before.trouble is Trouble.LOGIN_NEEDED:
            self._set(replace(before, state=ConnectionState.CONNECTING, retry_at=None))
        else:
            self._set(Connection(ConnectionState.CONNECTING, error=before.error, since=now))

    async def _one_connection(self) -> timedelta:
        """Connect, and return how long it lasted. Raises why it could not be made."""
        clock, limits = self._means.clock, self._means.limits
        self._lost = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limits.connect_timeout.total_seconds()):
                made = await connect(self._site, self, self._era)
        except TimeoutError:
            raise silent(self.upstream, limits.connect_timeout) from None
        except McpproxyError:
            raise
        except Exception as error:  # a bug must not end the loop that keeps us connected
            raise ProtocolError(f"internal error: {type(error).__name__}: {error}") from error
        begun = clock.elapsed()
        self._connected(made)
        self._attempt_over()
        if made.session.failure is not None:
            self.ended(made.session, made.session.failure)
        failure = await self._lost
        self._why = self.scrub.error(failure) if isinstance(failure, McpproxyError) else None
        self._log(f"connection lost: {failure}")
        return clock.elapsed() - begun

    def _connected(self, made: Connected) -> None:
        self._session, self._why, self.challenge = made.session, None, None
        self.agreed = made.agreed
        self._log(f"connected over {made.transport}, protocol {made.agreed.version}")
        self._offering.connected(made.tools)
        self._twin.begin(made.session, made.transport)
        self._spawn(self._tell_wishes(made.session))
        now = self._means.clock.now()
        self._set(counted(Connection(ConnectionState.CONNECTED, since=now), self.offer))
        self._observer.listed(self)

    async def _tell_wishes(self, session: Session) -> None:
        for missed in await self._wishes.tell(session.request):
            self._observer.notified(self, UPDATED, missed, NOBODY)

    def _failed(self, delay: timedelta) -> None:
        why, now = self._why, self._means.clock.now()
        if isinstance(why, Unauthorized | Forbidden):
            self.challenge = why.challenge or self.challenge
        error = short(why.message) if why is not None else "the connection was lost"
        self._log(f"{error}; next try in {delay.total_seconds():g} s")
        self._set(Connection(ConnectionState.ERROR, 0, trouble_of(why), error, now + delay, now))

    def _attempt_over(self) -> None:
        self._attempt_ended_at = self._means.clock.elapsed()
        self._tried.set()
        attempted, self._attempted = self._attempted, None
        if attempted is not None:
            attempted.set_result(None)

    async def _pause(self, delay: timedelta) -> None:
        """Until `delay` is over by the clock, or somebody needs us."""
        clock = self._means.clock
        until = clock.elapsed() + delay
        while not self._due.is_set() and (left := until - clock.elapsed()) > timedelta(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LONGEST_SLEEP).total_seconds()):
                    await self._due.wait()

    # --- what the session says ------------------------------------------------------------

    def ended(self, session: Session, failure: Exception) -> None:
        self._twin.ended(session)
        if session is self._session and self._lost is not None and not self._lost.done():
            self._session = None
            self._retire(session)
            self._twin.end()
            self._lost.set_result(failure)

    def _retire(self, session: Session) -> None:
        self._spawn(session.retire(self._means.limits.call_timeout.total_seconds()))

    def notified(self, method: str, message: Members, about: frozenset[str] = NOBODY) -> None:
        if not self._offering.heard(method):
            self._observer.notified(self, method, message, about)

    def _listable(self) -> Agreed | None:
        return self.agreed if self._session is not None else None

    def _offer_changed(self) -> None:
        if self.connection.state is ConnectionState.CONNECTED:
            self._set(counted(self.connection, self.offer))
        self._observer.listed(self)

    def _awaited(self) -> bool:
        return self._twin.is_awaited_beside(self._session)

    def _silent(self, session: Session, said: str) -> None:
        state, trouble = ConnectionState.ERROR, Trouble.SILENT
        if session is self._session and said:
            self._set(replace(self.connection, state=state, trouble=trouble, error=said))
        elif session is self._session and self.connection.trouble is trouble:
            now = self._means.clock.now()
            self._set(counted(Connection(ConnectionState.CONNECTED, since=now), self.offer))

    def _set(self, connection: Connection) -> None:
        before, self.connection = self.connection, connection
        if not before.looks_like(connection):
            self._means.publisher.publish(ServersChanged(self.name, connection.state.value))

    def _log(self, line: str) -> None:
        self._means.log.write(self.name, self.scrub.text(line))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
