"""One loop that keeps every grant alive, and the tokens it hands out.

Law: the loop asks `plan` what is due; anything that changes facts pokes it. No sleep is trusted
for longer than 30 s, a cheap look at the clocks each second notices suspended time, and callers
only ever wait: none of them can start a second refresh or cancel the one in flight.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.errors import (
    RefreshPending,
    StoreError,
    StoreTrouble,
    StoreUnavailable,
    UnknownServer,
)
from mcpproxy.core.events import TokenAccepted, TokenRejected
from mcpproxy.core.lifecycle import (
    AwaitLogin,
    Plan,
    RefreshNow,
    WaitUntil,
    ending,
    is_usable,
    plan,
)
from mcpproxy.core.model import Grant, Secret
from mcpproxy.core.notices import (
    StoreTroubled,
    Woke,
)
from mcpproxy.custody.entry import Entry
from mcpproxy.custody.journal import Superseded
from mcpproxy.custody.refresh import Busy, Refresh, RefreshTools
from mcpproxy.custody.waiting import login_required, pending, token_at
from mcpproxy.custody.wake import WakeWatch

TICK: Final = timedelta(seconds=1)
"""How often the clocks are looked at, and the finest grain of 'due'."""

REREAD_EVERY: Final = timedelta(seconds=30)
"""How often the store is re-read for what other processes wrote; no sleep is trusted longer."""

BUSY_PAUSE: Final = timedelta(milliseconds=500)
STORE_PAUSE: Final = timedelta(seconds=10)


class RefreshManager:
    """Implements the ports TokenSource, GrantFacts and RefreshControl."""

    def __init__(self, tools: RefreshTools, *, tick: timedelta = TICK) -> None:
        self._tools = tools
        self._tick = tick
        self._entries: dict[str, Entry] = {}
        self._poke = asyncio.Event()
        self._wake = WakeWatch(tools.clock)
        self._loop: asyncio.Task[None] | None = None
        self._reread_at = timedelta(0)
        self._store_trouble: StoreTrouble | None = None

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
        if self._tools.clock.elapsed() >= self._reread_at:
            with suppress(StoreError):
                await self._reread()
        return self._begin_what_is_due()

    def _look_at_clocks(self) -> None:
        woke = self._wake.look()
        if woke is not None:
            self._tools.publisher.publish(Woke(woke.reason, woke.slept))
            self._reread_at = self._tools.clock.elapsed()
            self._plan_anew()

    def _begin_what_is_due(self) -> timedelta:
        """Begin it; how long until somebody has to look again."""
        clock, pause = self._tools.clock, self._tick
        now, elapsed = clock.now(), clock.elapsed()
        for server, entry in self._entries.items():
            if entry.refresh is not None:
                continue
            try:
                pause = min(pause, self._begin_if_due(server, entry, now, elapsed))
            except Exception as error:  # one login's trouble must not keep the others waiting
                _report(f"the refresh of {server} could not be planned", error)
        return pause

    def _begin_if_due(
        self, server: str, entry: Entry, now: datetime, elapsed: timedelta
    ) -> timedelta:
        step = self._step(entry, now)
        entry.tell(step, now, self._tools.publisher)
        if isinstance(step, WaitUntil):
            return step.at - now
        if not isinstance(step, RefreshNow):
            return self._tick
        if elapsed < entry.not_before:
            return entry.not_before - elapsed
        entry.refresh = asyncio.create_task(self._refresh(server, entry), name=f"refresh:{server}")
        return self._tick

    async def _refresh(self, server: str, entry: Entry) -> None:
        began = self._tools.clock.elapsed()
        pause = self._tools.policy.min_interval
        try:
            result = await Refresh(self._tools, server, self._decide).run()
            self._store_works()
            if isinstance(result, Busy):
                pause = BUSY_PAUSE
            elif result.grant is None:
                if self._entries.get(server) is entry:
                    self.forget(server)
            else:
                known = entry.grant
                self._take(result.grant)
                if result.grant.last_begun_at == known.last_begun_at:
                    # Nothing was tried. What is due by facts that were not believed stays due.
                    pause = BUSY_PAUSE if entry.grant is known else timedelta(0)
        except StoreError as error:
            pause = STORE_PAUSE
            self._store_fails(error)
        except Exception as error:  # told, and tried again after the minimum interval
            _report(f"the refresh of {server} failed inside mcpproxy", error)
        finally:
            entry.refresh = None
            # Holds whatever the wall clock does: facts alone cannot see it set back.
            entry.not_before = began + pause
            entry.signal()
            self._poke.set()

    # --- facts ------------------------------------------------------------------------------

    def grant(self, server: str) -> Grant | None:
        entry = self._entries.get(server)
        return entry.grant if entry else None

    def grants(self) -> Sequence[Grant]:
        return [entry.grant for entry in self._entries.values()]

    def woken_at(self) -> datetime | None:
        return self._wake.woken_at

    def store_trouble(self) -> StoreTrouble | None:
        return self._store_trouble

    def damage(self, server: str) -> str | None:
        return None if server in self._entries else self._tools.journal.damage(server)

    def adopt(self, grant: Grant) -> None:
        """A login was made: this is the server's grant now, whatever the clock says."""
        entry = self._entries.get(grant.server)
        if entry is None:
            self._take(grant)
        else:
            entry.put(grant, self._tools.clock.elapsed())
            self._poke.set()

    def forget(self, server: str) -> None:
        """The server has no grant any more."""
        entry = self._entries.pop(server, None)
        if entry is not None:
            entry.signal()

    def network_changed(self) -> None:
        """Routes or addresses changed: failures from before are no guide any more."""
        self._wake.mark()
        self._plan_anew()
        self._poke.set()

    # --- tokens -----------------------------------------------------------------------------

    def peek(self, server: str, url: str) -> Secret | None:
        entry = self._entries.get(server)
        if entry is None or entry.grant.server_url != url or not self._is_usable(entry.grant):
            return None
        return entry.grant.tokens.access_token

    async def token(self, server: str, url: str) -> Secret | None:
        entry = self._entries.get(server)
        if entry is None or entry.grant.server_url != url:
            return None
        return await self._usable_token(server, url)

    async def challenged(self, server: str, url: str, rejected: Secret) -> Secret:
        entry = self._entries.get(server)
        if entry is None or entry.grant.server_url != url:
            raise login_required(server, "there is no login for it")
        if entry.grant.tokens.access_token == rejected:
            await self._reject(entry, rejected)
        return await self._usable_token(server, url)

    async def accepted(self, server: str, token: Secret) -> None:
        entry = self._entries.get(server)
        if entry is None or entry.grant.rejections == 0:
            return
        with suppress(StoreUnavailable, Superseded):
            event = TokenAccepted(token.fingerprint)
            self._take(await self._tools.journal.append(entry.grant, event))

    async def refresh_now(self, server: str) -> Grant:
        entry = self._entries.get(server)
        if entry is None:
            raise UnknownServer(
                f"There is no login for '{server}'.",
                next_step=f"Run `mcpproxy auth login {server}`.",
            )
        before = entry.grant.generation
        entry.ask(self._tools.clock.now())
        self._poke.set()
        policy = self._tools.policy
        limit = policy.min_interval + policy.connect_timeout + policy.answer_timeout
        with suppress(TimeoutError):
            async with asyncio.timeout(limit.total_seconds()):
                while entry.grant.generation == before:
                    self._raise_if_hopeless(server, entry)
                    await entry.changed()
                return entry.grant
        raise self._pending(server, entry)

    async def _usable_token(self, server: str, url: str) -> Secret:
        wait = self._tools.policy.token_wait
        deadline = self._tools.clock.elapsed() + wait
        try:
            async with asyncio.timeout(wait.total_seconds()):
                while True:
                    entry = self._entries.get(server)
                    if entry is None or entry.grant.server_url != url:
                        raise login_required(server, "there is no login for it")
                    if self._is_usable(entry.grant):
                        return entry.grant.tokens.access_token
                    self._raise_if_late(server, entry, deadline)
                    with suppress(TimeoutError):  # time alone may make a token usable again
                        async with asyncio.timeout(TICK.total_seconds()):
                            await entry.changed()
        except TimeoutError:
            raise self._pending(server, self._entries.get(server)) from None

    async def _reject(self, entry: Entry, rejected: Secret) -> None:
        """Adopt what a sibling made meanwhile, else note that this token is refused."""
        journal = self._tools.journal
        try:
            stored = await journal.load(entry.grant.server)
            if stored is None:
                self.forget(entry.grant.server)
            elif stored.tokens.access_token != rejected:
                self._take(stored)
            else:
                event = TokenRejected(rejected.fingerprint, self._tools.clock.now())
                self._take(await journal.append(stored, event))
        except Superseded:
            self._reread_at = self._tools.clock.elapsed()
        except StoreUnavailable as error:
            self._store_fails(error)
            raise RefreshPending(
                f"The server refused the access token of '{entry.grant.server}' and the store "
                f"does not take writes: {error.message}",
                retry_at=None,
                next_step="Free the disk or fix its permissions; mcpproxy goes on by itself.",
            ) from error

    # --- inside -----------------------------------------------------------------------------

    def _decide(self, grant: Grant) -> Plan:
        """`plan` at this moment, for facts that were just read under the lease."""
        entry = self._entries.get(grant.server)
        return plan(
            grant,
            self._tools.clock.now(),
            self._tools.policy,
            woken_at=self._wake.woken_at,
            asked_at=entry.asked_at if entry else None,
        )

    def _step(self, entry: Entry, now: datetime) -> Plan:
        return entry.step(now, self._tools.policy, self._wake.woken_at)

    def _plan_anew(self) -> None:
        for entry in self._entries.values():
            entry.forget_plan()

    def _is_usable(self, grant: Grant) -> bool:
        return is_usable(grant, self._tools.clock.now(), self._tools.policy)

    def _raise_if_hopeless(self, server: str, entry: Entry) -> None:
        now = self._tools.clock.now()
        ended = ending(entry.grant, now)
        if ended is not None or isinstance(self._step(entry, now), AwaitLogin):
            raise login_required(server, ended.evidence if ended else "it cannot be refreshed")

    def _raise_if_late(self, server: str, entry: Entry, deadline: timedelta) -> None:
        """Waiting is for refreshes that can still make it in time."""
        self._raise_if_hopeless(server, entry)
        clock = self._tools.clock
        at = token_at(entry.grant, self._step(entry, clock.now()), self._tools.policy)
        if at is not None and at - clock.now() > deadline - clock.elapsed():
            raise self._pending(server, entry)

    def _pending(self, server: str, entry: Entry | None) -> RefreshPending:
        now = self._tools.clock.now()
        if entry is None:
            return pending(server, None, None, now)
        step = self._step(entry, now)
        return pending(server, entry.grant, token_at(entry.grant, step, self._tools.policy), now)

    def _take(self, grant: Grant) -> None:
        entry, elapsed = self._entries.get(grant.server), self._tools.clock.elapsed()
        if entry is None:
            self._entries[grant.server] = Entry(grant, elapsed)
        else:
            entry.take(grant, elapsed)
        self._poke.set()

    async def _reread(self) -> None:
        self._reread_at = self._tools.clock.elapsed() + REREAD_EVERY
        try:
            stored = {grant.server: grant for grant in await self._tools.journal.load_all()}
        except StoreError as error:
            self._store_fails(error)
            raise
        if self._store_trouble in (StoreTrouble.UNAVAILABLE, StoreTrouble.KEY_LOCKED):
            self._store_works()
        for server in set(self._entries) - set(stored):
            entry = self._entries[server]
            if entry.refresh is None:
                self.forget(server)
        for grant in stored.values():
            known = self._entries.get(grant.server)
            if known is None or known.grant != grant:
                self._take(grant)

    def _store_works(self) -> None:
        if self._store_trouble is not None:
            self._store_trouble = None
            self._tools.publisher.publish(StoreTroubled(None, ""))

    def _store_fails(self, error: StoreError) -> None:
        trouble = getattr(error, "trouble", None) or StoreTrouble.UNAVAILABLE
        if trouble is not self._store_trouble:
            self._store_trouble = trouble
            self._tools.publisher.publish(StoreTroubled(trouble.value, error.message))


def _report(message: str, error: Exception) -> None:
    """To the event loop's handler, which logs it with its traceback."""
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
