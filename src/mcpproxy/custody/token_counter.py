"""The counter where callers get their tokens, and the facts in memory behind it.

Law: callers only ever wait; none of them can start a second refresh or cancel the one in flight.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.errors import RefreshPending, StoreError, StoreTrouble, UnknownServer
from mcpproxy.core.events import ClientConfigured, TokenAccepted, TokenRejected
from mcpproxy.core.lifecycle import AwaitLogin, Plan, ending, is_usable
from mcpproxy.core.model import Grant, Secret, Upstream
from mcpproxy.custody.agenda import Agenda
from mcpproxy.custody.entry import Entry
from mcpproxy.custody.journal import Superseded
from mcpproxy.custody.mending import client_configured
from mcpproxy.custody.pacing import Pacer
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.store_watch import StoreWatch
from mcpproxy.custody.waiting import login_required, pending, refused_for_good, token_at
from mcpproxy.custody.wake import WakeWatch

LOOK_AGAIN: Final = timedelta(seconds=1)
"""Time alone may make a token usable again, so who waits looks for itself too."""


class TokenCounter:
    """Implements the ports TokenSource, GrantFacts and RefreshControl; something else must do
    what is due.
    """

    def __init__(self, tools: RefreshTools) -> None:
        self._tools = tools
        self._entries: dict[str, Entry] = {}
        self._poke = asyncio.Event()
        self._agenda = Agenda()
        self._pacer = Pacer(tools.policy)
        self._wake = WakeWatch(tools.clock)
        self._store = StoreWatch(tools.publisher)
        self._reread_at = timedelta(0)
        self._configured: Mapping[str, Upstream] = {}
        self._take_over_due = False

    # --- facts ------------------------------------------------------------------------------

    def grant(self, server: str) -> Grant | None:
        entry = self._entries.get(server)
        return entry.grant if entry else None

    def grants(self) -> Sequence[Grant]:
        return [entry.grant for entry in self._entries.values()]

    def woken_at(self) -> datetime | None:
        return self._wake.woken_at

    def held_until(self, server: str) -> datetime | None:
        entry, clock = self._entries.get(server), self._tools.clock
        until = self._pacer.shut_until(entry.grant.issuer) if entry else None
        left = until - clock.elapsed() if until is not None else timedelta(0)
        return clock.now() + left if left > timedelta(0) else None

    def store_trouble(self) -> StoreTrouble | None:
        return self._store.trouble

    def damage(self, server: str) -> str | None:
        return None if server in self._entries else self._tools.journal.damage(server)

    def adopt(self, grant: Grant) -> None:
        """A login was made: this is the server's grant now, whatever the clock says."""
        entry = self._entries.get(grant.server)
        if entry is None:
            self._take(grant)
        else:
            entry.put(grant, self._tools.clock.elapsed())
            self._touch(grant.server)

    def forget(self, server: str) -> None:
        """The server has no grant any more."""
        entry = self._entries.pop(server, None)
        if entry is not None:
            self._agenda.drop(server)
            self._pacer.withdraw(server)
            entry.signal()

    async def reconfigure(self, upstreams: Mapping[str, Upstream]) -> None:
        """Take over what the person configured anew about the clients of present logins. What
        cannot be stored now is tried again with the re-reads.
        """
        self._configured = upstreams
        await self._take_over_clients()

    async def _take_over_clients(self) -> None:
        self._take_over_due = self._store.trouble is not None
        for server, upstream in self._configured.items():
            entry = self._entries.get(server)
            client = client_configured(entry.grant, upstream) if entry else None
            if entry is None or client is None:
                continue
            try:
                self._take(await self._tools.journal.append(entry.grant, ClientConfigured(client)))
            except Superseded:
                continue
            except StoreError as error:
                self._take_over_due = True
                self._store.failed(error)

    def network_changed(self) -> None:
        """Routes or addresses changed: failures from before are no guide any more."""
        self._wake.mark()
        self._plan_anew()

    def reachable_again(self, issuer: str) -> None:
        """The way to this provider was closed and is open: its grants are tried again."""
        now = self._tools.clock.now()
        found = [name for name, each in self._entries.items() if each.grant.issuer == issuer]
        for server in found:
            self._entries[server].reach(now)
        self._touch(*found)

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
        with suppress(StoreError, Superseded):
            event = TokenAccepted(token.fingerprint)
            self._take(await self._tools.journal.append(entry.grant, event))

    async def refresh_now(self, server: str) -> Grant:
        entry = self._entries.get(server)
        if entry is None:
            raise UnknownServer(
                f"There is no login for '{server}'.",
                next_step=f"Run `mcpproxy auth login {server}`.",
            )
        before, begun_at = entry.grant.generation, entry.grant.last_begun_at
        entry.ask(self._tools.clock.now())
        self._touch(server)
        policy = self._tools.policy
        limit = policy.min_interval + policy.connect_timeout + policy.answer_timeout
        with suppress(TimeoutError):
            async with asyncio.timeout(limit.total_seconds()):
                while entry.grant.generation == before:
                    self._raise_if_hopeless(server, entry)
                    if entry.refresh is None and entry.grant.last_begun_at != begun_at:
                        break  # it was tried, and what came of it is known
                    await entry.changed()
                else:
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
                    await self._await_change(server, entry)
        except TimeoutError:
            raise self._pending(server, self._entries.get(server)) from None

    async def _await_change(self, server: str, entry: Entry) -> None:
        """Until something changes, or for a moment. Who waits goes first."""
        entry.waiting += 1
        if entry.waiting == 1 and entry.refresh is None:
            self._touch(server)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN.total_seconds()):
                    await entry.changed()
        finally:
            entry.waiting -= 1

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
        except StoreError as error:
            self._store.failed(error)
            raise RefreshPending(
                f"The server refused the access token of '{entry.grant.server}' and the store "
                f"does not take writes: {error.message}",
                retry_at=None,
                next_step="Free the disk or fix its permissions; mcpproxy goes on by itself.",
            ) from error

    # --- inside -----------------------------------------------------------------------------

    def _step(self, entry: Entry, now: datetime) -> Plan:
        return entry.step(now, self._tools.policy, self._wake.woken_at)

    def _plan_anew(self) -> None:
        for entry in self._entries.values():
            entry.forget_plan()
        self._touch(*self._entries)

    def _touch(self, *servers: str) -> None:
        """Something about these changed: look at them now."""
        self._agenda.touch(servers)
        self._poke.set()

    def _is_usable(self, grant: Grant) -> bool:
        return is_usable(grant, self._tools.clock.now(), self._tools.policy)

    def _raise_if_hopeless(self, server: str, entry: Entry) -> None:
        now = self._tools.clock.now()
        ended = ending(entry.grant, now)
        if ended is not None or isinstance(self._step(entry, now), AwaitLogin):
            why = ended.evidence if ended else "it cannot be refreshed"
            raise refused_for_good(server, entry.grant, why)

    def _raise_if_late(self, server: str, entry: Entry, deadline: timedelta) -> None:
        """Waiting is for refreshes that can still make it in time."""
        self._raise_if_hopeless(server, entry)
        clock = self._tools.clock
        at = self._token_at(server, entry, clock.now())
        if at is not None and at - clock.now() > deadline - clock.elapsed():
            raise self._pending(server, entry)

    def _pending(self, server: str, entry: Entry | None) -> RefreshPending:
        now = self._tools.clock.now()
        if entry is None:
            return pending(server, None, None, now)
        return pending(server, entry.grant, self._token_at(server, entry, now), now)

    def _token_at(self, server: str, entry: Entry, now: datetime) -> datetime | None:
        """When there may be a token again; None: a refresh is under way."""
        at = token_at(entry.grant, self._step(entry, now), self._tools.policy)
        return self.held_until(server) if at is None and entry.refresh is None else at

    def _take(self, grant: Grant) -> None:
        entry, elapsed = self._entries.get(grant.server), self._tools.clock.elapsed()
        begun_in_future = self._is_news_of_the_future(entry, grant)
        if entry is None:
            entry = self._entries[grant.server] = Entry(grant, elapsed)
        else:
            entry.take(grant, elapsed)
        if begun_in_future:
            entry.not_before = max(entry.not_before, elapsed + self._tools.policy.min_interval)
        self._touch(grant.server)

    def _is_news_of_the_future(self, entry: Entry | None, grant: Grant) -> bool:
        """An attempt that another process began before the clock was set back: how long ago, only
        time that passes from here can tell.
        """
        begun_at = grant.last_begun_at
        if entry is not None and entry.grant.last_begun_at == begun_at:
            return False
        return begun_at is not None and begun_at > self._tools.clock.now()
