"""One loop that keeps every grant alive.

Law: the loop asks `plan` what is due; anything that changes facts pokes it. No sleep is trusted
for longer than 30 s, and a cheap look at the clocks each second notices suspended time.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.errors import StoreError
from mcpproxy.core.lifecycle import Plan, RefreshNow, WaitUntil, plan
from mcpproxy.core.model import Grant, RefreshCause
from mcpproxy.core.notices import Woke
from mcpproxy.custody.entry import Entry
from mcpproxy.custody.refresh import Busy, Refresh, RefreshTools
from mcpproxy.custody.token_counter import TokenCounter
from mcpproxy.custody.wake import SUSPEND

TICK: Final = timedelta(seconds=1)
"""How often the clocks are looked at, and the finest grain of 'due'."""

REREAD_EVERY: Final = timedelta(seconds=30)
"""How often the store is re-read for what other processes wrote; no sleep is trusted longer."""

STAMP_EVERY: Final = timedelta(seconds=2)
"""How often the store is asked whether anybody else wrote."""

NETWORK_WAIT: Final = timedelta(seconds=15)
"""How long after a sleep a machine without any network is believed to be getting one."""

STORE_LEASE: Final = "store"
"""Taken and given back to see whether the store takes writes."""

BUSY_PAUSE: Final = timedelta(milliseconds=500)
STORE_PAUSE: Final = timedelta(seconds=10)


class RefreshManager(TokenCounter):
    """The counter at which tokens are handed out, and the loop that keeps them alive."""

    def __init__(self, tools: RefreshTools, *, tick: timedelta = TICK) -> None:
        super().__init__(tools)
        tools.journal.on_write(self._store.wrote)
        self._tick = tick
        self._loop: asyncio.Task[None] | None = None
        self._slept_until: timedelta | None = None
        self._ask_stamp_at = timedelta(0)
        self._stamp: int | None = None
        self._tell_vanished: Callable[[], None] = lambda: None

    def on_vanished(self, tell: Callable[[], None]) -> None:
        """Call this when a grant is not in the store any more that nobody here took out."""
        self._tell_vanished = tell

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load every grant and begin. What is due is begun at once and waited for by nobody.

        A store that cannot be read now (locked key, failing disk) is asked again by the loop.
        """
        with suppress(StoreError):
            await self._reread()
        self._loop = asyncio.create_task(self._run(), name="refresh-manager")

    async def stop(self) -> None:
        """Let what was sent come home, then stop. Bounded by the time limits of an attempt."""
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        running = [entry.refresh for entry in self._entries.values() if entry.refresh]
        if running:
            policy = self._tools.policy
            limit = policy.connect_timeout + policy.answer_timeout
            await asyncio.wait(running, timeout=limit.total_seconds())

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._look()
            except Exception as error:  # a bug must not end what keeps every login alive
                _report("the refresh loop failed; it goes on", error)
                pause = self._tick
            with suppress(TimeoutError):
                async with asyncio.timeout(pause.total_seconds()):
                    await self._poke.wait()
            self._poke.clear()

    async def _look(self) -> timedelta:
        """Do what is due; how long until somebody has to look again."""
        self._look_at_clocks()
        if await self._is_reread_due():
            self._agenda.touch(self._entries)  # what is remembered is checked against the facts
            with suppress(StoreError):
                await self._reread()
                if self._take_over_due:
                    await self._take_over_clients()
                await self._try_to_write()
        return self._tick if self._awaits_network() else self._begin_what_is_due()

    async def _is_reread_due(self) -> bool:
        """Every half a minute, and soon after another process wrote: what it stored is news for
        who asks here.
        """
        elapsed = self._tools.clock.elapsed()
        if elapsed >= self._reread_at:
            return True
        if elapsed < self._ask_stamp_at:
            return False
        self._ask_stamp_at = elapsed + STAMP_EVERY
        with suppress(StoreError):
            stamp, known = await self._tools.journal.stamp(), self._stamp
            self._stamp = stamp
            return known is not None and stamp != known
        return False

    def _look_at_clocks(self) -> None:
        woke = self._wake.look()
        if woke is not None:
            self._tools.publisher.publish(Woke(woke.reason, woke.slept))
            self._reread_at = self._tools.clock.elapsed()
            self._plan_anew()
            if woke.reason == SUSPEND:
                self._slept_until = self._tools.clock.elapsed()

    def _awaits_network(self) -> bool:
        """Just awake and no way out yet: an attempt would be in vain, and hold the next one off
        for the minimum interval when the network is there.
        """
        slept_until = self._slept_until
        if slept_until is None:
            return False
        late = self._tools.clock.elapsed() - slept_until >= NETWORK_WAIT
        if late or self._tools.is_online():
            self._slept_until = None
            return False
        return True

    def _begin_what_is_due(self) -> timedelta:
        """Begin it; how long until somebody has to look again."""
        clock, agenda, pacer = self._tools.clock, self._agenda, self._pacer
        now, elapsed = clock.now(), clock.elapsed()
        for server in agenda.take(elapsed):
            entry = self._entries.get(server)
            if entry is None or entry.refresh is not None:
                continue
            try:
                self._place(server, entry, now, elapsed)
            except Exception as error:  # one login's trouble must not keep the others waiting
                _report(f"the refresh of {server} could not be planned", error)
        for server in pacer.ready(elapsed):
            agenda.drop(server)
            entry = self._entries[server]
            entry.refresh = asyncio.create_task(
                self._refresh(server, entry), name=f"refresh:{server}"
            )
        return min(self._tick, agenda.next_at() - elapsed, pacer.next_at() - elapsed)

    def _place(self, server: str, entry: Entry, now: datetime, elapsed: timedelta) -> None:
        """To where it waits: for its turn at its issuer, or for the moment it is due."""
        step = self._step(entry, now)
        entry.tell(step, now, self._tools.publisher)
        if isinstance(step, RefreshNow) and elapsed >= entry.not_before:
            self._pacer.offer(server, entry.grant.issuer, entry.urgency(step, now))
            return
        self._pacer.withdraw(server)
        at = entry.look_at(step, now)
        if isinstance(step, RefreshNow):
            self._agenda.put(server, entry.not_before)
        elif at is not None:
            self._agenda.put(server, elapsed + (at - now))

    async def _refresh(self, server: str, entry: Entry) -> None:
        clock, known, issuer = self._tools.clock, entry.grant, entry.grant.issuer
        began, pause = clock.elapsed(), self._tools.policy.min_interval
        try:
            result = await Refresh(self._tools, server, self._decide).run()
            if isinstance(result, Busy):
                pause = BUSY_PAUSE
            elif result.grant is None:
                if self._entries.get(server) is entry:
                    self._vanished(server)
            else:
                known = entry.grant
                self._take(result.grant)
                if result.grant.last_begun_at == known.last_begun_at:
                    # Nothing was tried. What is due by facts that were not believed stays due.
                    pause = BUSY_PAUSE if entry.grant is known else timedelta(0)
        except StoreError as error:
            pause = STORE_PAUSE
            self._store.failed(error)
        except Exception as error:  # told, and tried again after the minimum interval
            _report(f"the refresh of {server} failed inside mcpproxy", error)
        finally:
            entry.refresh = None
            # Holds whatever the wall clock does: facts alone cannot see it set back.
            entry.not_before = max(entry.not_before, began + pause)
            self._pacer.finished(server, issuer, known, entry.grant, clock)
            entry.signal()
            self._touch(server)

    # --- inside -----------------------------------------------------------------------------

    def _decide(self, grant: Grant) -> Plan:
        """`plan` at this moment, for facts that were just read under the lease."""
        entry, woken_at = self._entries.get(grant.server), self._wake.woken_at
        now, policy = self._tools.clock.now(), self._tools.policy
        if grant.attempt is None and self._is_news_of_the_future(entry, grant):
            return WaitUntil(now + policy.min_interval, RefreshCause.RETRY)
        if entry is None:
            return plan(grant, now, policy, woken_at=woken_at)
        return entry.due(grant, now, policy, woken_at)

    async def _try_to_write(self) -> None:
        """Whether a disk that was full takes writes again: no refresh may be due for hours, and
        health is not to speak of a trouble that is over. A lease is a write that means nothing.
        """
        if self._store.trouble is None:
            return
        hold = await self._tools.lease.acquire(STORE_LEASE, self._tools.policy.lease_ttl)
        if hold is not None:
            await self._tools.lease.release(hold)
            self._store.wrote(None)

    async def _reread(self) -> None:
        self._reread_at = self._tools.clock.elapsed() + REREAD_EVERY
        before = {server: entry.grant for server, entry in self._entries.items()}
        try:
            stored = {grant.server: grant for grant in await self._tools.journal.load_all()}
        except StoreError as error:
            self._store.failed(error)
            raise
        self._store.was_read()
        for server in before.keys() - stored.keys():
            entry = self._entries.get(server)
            # Who logged in while the store was read is not missing from it.
            if entry is not None and entry.refresh is None and entry.grant is before[server]:
                self._vanished(server)
        for grant in stored.values():
            known = self._entries.get(grant.server)
            if known is None or known.grant != grant:
                self._take(grant)

    def _vanished(self, server: str) -> None:
        self.forget(server)
        self._tell_vanished()


def _report(message: str, error: Exception) -> None:
    """To the event loop's handler, which logs it with its traceback."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
