"""Logins without a person: whoever configured client credentials for a server has a grant for it,
made here, at the start and whenever the configuration changes.

Law: a grant of this kind stands for exactly the credentials, the address and the scopes that are
configured; it is made by discovery alone and its first token comes from the refresh engine. What
cannot be made yet is tried again for ever, and nobody is asked to log in meanwhile. Whoever logged
out stays so, and no server leads credentials to another provider than before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mcpproxy.core.errors import LoginError, McpproxyError, StoreError
from mcpproxy.core.health import Seeding
from mcpproxy.core.model import Grant, GrantType, OAuthConfig, Upstream
from mcpproxy.core.policy import RefreshPolicy, calculate_backoff
from mcpproxy.core.ports import Clock, Store
from mcpproxy.core.provider_ports import LoginConversation
from mcpproxy.custody.machine_memory import MachineMemory, Recipient

UNDER_WAY: Final = Seeding()
GIVING_BACK: Final = timedelta(seconds=10)
"""A person may be waiting for the new login, and the old token ends by itself."""


@dataclass(frozen=True, slots=True)
class MachineTools:
    """What these logins work with. `known` is the grant in memory; `log_out` gives one back
    and forgets it, `revoke` only gives it back.
    """

    store: Store
    conversation: LoginConversation
    clock: Clock
    policy: RefreshPolicy
    upstreams: Callable[[], Mapping[str, Upstream]]
    challenge: Callable[[str], str | None]
    known: Callable[[str], Grant | None]
    adopt: Callable[[Grant], None]
    log_out: Callable[[str], Awaitable[str | None]]
    revoke: Callable[[Grant], Awaitable[str | None]]


class MachineLogins:
    """One task for each server whose grant is not yet what is configured."""

    def __init__(self, tools: MachineTools) -> None:
        self._tools = tools
        self._tasks: dict[str, tuple[Upstream, asyncio.Task[None]]] = {}
        self._seeding: dict[str, Seeding] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._fresh = asyncio.Event()
        self._memory = MachineMemory(tools.store)

    def apply(self) -> None:
        """Bring the grants in line with the configuration as it is now."""
        upstreams = self._tools.upstreams()
        for server, (upstream, task) in list(self._tasks.items()):
            if upstreams.get(server) != upstream:
                task.cancel()
                self._over(server, task)
        for server, upstream in upstreams.items():
            if server not in self._tasks and (is_wanted(upstream) or self._is_unwanted(upstream)):
                self._begin(upstream)

    async def stop(self) -> None:
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def retry_now(self) -> None:
        """The network changed or the machine woke: failures from before are no guide any more."""
        self._fresh.set()
        self._fresh = asyncio.Event()

    def seeding(self, server: str) -> Seeding | None:
        """How the making of this server's grant stands; None when none is being made."""
        return self._seeding.get(server)

    async def seed(self, upstream: Upstream) -> Grant:
        """Make the server's grant anew, as a person asks for. Raises LoginError, StoreError."""
        async with self._lock(upstream.name):
            await self._memory.log_in(upstream.name)
            return await self._seed(upstream)

    async def stay_out(self, server: str) -> None:
        """Make no grant until the person logs in or configures another login. Raises StoreError."""
        upstream = self._tools.upstreams().get(server)
        if upstream is None or not by_machine(upstream):
            return
        await self._memory.log_out(upstream)
        if server in self._tasks:
            _, task = self._tasks[server]
            task.cancel()
            await asyncio.wait({task})
            self._over(server, task)

    # --- inside -----------------------------------------------------------------------------

    def _is_unwanted(self, upstream: Upstream) -> bool:
        grant = self._tools.known(upstream.name)
        return grant is not None and is_unwanted(grant, upstream)

    def _begin(self, upstream: Upstream) -> None:
        server = upstream.name
        if is_wanted(upstream):
            known = self._tools.known(server)
            if known is None or not fits(known, upstream):
                self._seeding[server] = UNDER_WAY
        task = asyncio.create_task(self._insist(upstream), name=f"machine-login:{server}")
        self._tasks[server] = (upstream, task)
        task.add_done_callback(lambda ended: self._over(server, ended))

    def _over(self, server: str, ended: "asyncio.Task[None]") -> None:
        known = self._tasks.get(server)
        if known is not None and known[1] is ended:
            del self._tasks[server]
            self._seeding.pop(server, None)

    async def _insist(self, upstream: Upstream) -> None:
        """Until the grant is what is configured."""
        clock, policy, retry = self._tools.clock, self._tools.policy, 0
        while True:
            began, fresh = clock.elapsed(), self._fresh
            try:
                await self._settle(upstream)
                return
            except McpproxyError as error:
                why = error.message.rstrip(".")
            except Exception as error:  # told, and tried again like any other trouble
                why = f"a bug of mcpproxy ({type(error).__name__})"
                context = {"message": f"{upstream.name}: {why}", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
            pause = calculate_backoff(retry, policy)
            if is_wanted(upstream):
                self._seeding[upstream.name] = Seeding(why, clock.now() + pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause.total_seconds()):
                    await fresh.wait()
            early = began + policy.min_interval - clock.elapsed()
            await asyncio.sleep(max(0.0, early.total_seconds()))
            retry += 1

    async def _settle(self, upstream: Upstream) -> None:
        """One try. Raises LoginError, StoreError."""
        async with self._lock(upstream.name):
            stored = await self._stored(upstream.name)
            if is_wanted(upstream):
                if stored is not None and fits(stored, upstream):
                    await self._memory.remember(stored)
                    known = self._tools.known(upstream.name)
                    if known is None or known.login_id != stored.login_id:
                        self._tools.adopt(stored)  # an edit came between storing and this
                elif not await self._memory.is_logged_out(upstream):
                    await self._seed(upstream)
            elif stored is not None and is_unwanted(stored, upstream):
                await self._tools.log_out(upstream.name)

    async def _seed(self, upstream: Upstream) -> Grant:
        tools, server = self._tools, upstream.name
        grant = await tools.conversation.seed(upstream, challenge=tools.challenge(server))
        before = await self._stored(server) or tools.known(server)
        known = Recipient.of(before) if before else await self._memory.recipient(server)
        if known is not None and is_diverted(grant, known, upstream):
            raise LoginError(
                f"'{server}' names {grant.issuer} as its provider now, not {known.issuer}; the "
                "credentials for one are not sent to the other.",
                next_step="If that is right, set `oauth.issuer` to it in the configuration.",
            )
        await self._memory.remember(grant)
        await tools.store.replace_grant(grant)
        current = await tools.store.load_grant(server)
        if current is None or current.login_id != grant.login_id:
            raise LoginError(f"Another login of '{server}' was made at the same time.")
        if before is not None and before.login_id != current.login_id:
            await self._give_back(before)
        tools.adopt(current)
        return current

    async def _give_back(self, grant: Grant) -> None:
        """The token that nobody will use any more, before the next one is asked for: a provider
        may give the same one to the same client again. As far as it is to be had in time.
        """
        if grant.grant_type is GrantType.CLIENT_CREDENTIALS:
            with suppress(TimeoutError):
                async with asyncio.timeout(GIVING_BACK.total_seconds()):
                    await self._tools.revoke(grant)

    async def _stored(self, server: str) -> Grant | None:
        """None for one that cannot be opened too: it is made anew."""
        with suppress(StoreError):
            return await self._tools.store.load_grant(server)
        return None

    def _lock(self, server: str) -> asyncio.Lock:
        return self._locks.setdefault(server, asyncio.Lock())


def by_machine(upstream: Upstream) -> bool:
    """Whether this server's tokens are come by with client credentials."""
    config = upstream.oauth
    return config is not None and config.grant_type is GrantType.CLIENT_CREDENTIALS


def is_wanted(upstream: Upstream) -> bool:
    """Whether a grant is to be made for it without being asked: not before it is approved."""
    approved = upstream.enabled and not upstream.quarantined
    usable = approved and upstream.url is not None and upstream.problem is None
    return usable and by_machine(upstream)


def is_unwanted(grant: Grant, upstream: Upstream) -> bool:
    """Whether its credentials were taken out of the configuration."""
    return grant.grant_type is GrantType.CLIENT_CREDENTIALS and not by_machine(upstream)


def is_diverted(grant: Grant, known: Recipient, upstream: Upstream) -> bool:
    """Whether a server leads credentials elsewhere than it did, without its person's word. Only
    another address with other credentials is another server of the same name.
    """
    now = Recipient.of(grant)
    pinned = upstream.oauth is not None and upstream.oauth.issuer is not None
    same = known.server_url == now.server_url or known.proof == now.proof
    return known.issuer != now.issuer and same and not pinned


def fits(grant: Grant, upstream: Upstream) -> bool:
    """Whether the grant is what a new one would be, as far as the configuration says."""
    config, client = upstream.oauth or OAuthConfig(), grant.client
    resource = config.extra_params.get("resource")
    signs = config.private_key is not None
    return (
        grant.grant_type is GrantType.CLIENT_CREDENTIALS
        and grant.server_url == upstream.url
        and (config.issuer is None or grant.issuer.rstrip("/") == config.issuer.rstrip("/"))
        and client.client_id == config.client_id
        and client.client_secret == (None if signs else config.client_secret)
        and client.private_key == config.private_key
        and client.key_id == config.key_id
        and client.signing_alg == config.signing_alg
        and client.assertion_audience is config.assertion_audience
        and (not config.scopes or grant.scope == " ".join(config.scopes))
        and (resource is None or grant.resource == resource)
    )
