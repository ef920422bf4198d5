"""Logins that wait for a person: begun here, finished by a redirect, watched by whoever asked.

Law: a state is used once. The code's answer is stored before it is read, so a crash between the
provider's yes and our save loses nothing. Logins in parallel know nothing of each other; the one
finished last is the account in use.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from mcpproxy.core.errors import (
    LoginDenied,
    LoginError,
    LoginTimedOut,
    McpproxyError,
    StoreError,
    UnknownLogin,
    UnknownServer,
)
from mcpproxy.core.model import Grant, GrantType, Secret, Upstream
from mcpproxy.core.notices import LedgerWritten, LoggedOut, LoginBegan
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.policy import RefreshPolicy
from mcpproxy.core.ports import (
    CallbackListener,
    Clock,
    Lease,
    LoginFlow,
    LoginWay,
    Publisher,
    Store,
)
from mcpproxy.core.provider_ports import AuthorizationServer, LoginConversation
from mcpproxy.custody.device_login import DevicePolls
from mcpproxy.custody.flows import Flow, Flows
from mcpproxy.custody.logout import LogoutTools, log_out
from mcpproxy.custody.machine_login import by_machine

CALLBACK_PATH: Final = "/oauth/callback"
CALLBACK_PORT_SETTING: Final = "callback_port"
RETRY_KEEPING: Final = timedelta(seconds=5)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LoginTools:
    """What logins work with. `challenge` is an upstream's last WWW-Authenticate, if any; `token`
    the port TokenSource's; `seed` makes a grant of configured client credentials,
    `stay_out` keeps them from being used again.
    """

    store: Store
    lease: Lease
    conversation: LoginConversation
    provider: AuthorizationServer
    listener: CallbackListener
    clock: Clock
    policy: RefreshPolicy
    publisher: Publisher
    upstreams: Callable[[], Mapping[str, Upstream]]
    challenge: Callable[[str], str | None]
    adopt: Callable[[Grant], None]
    forget: Callable[[str], None]
    seed: Callable[[Upstream], Awaitable[Grant]]
    stay_out: Callable[[str], Awaitable[None]]
    token: Callable[[str, str], Awaitable[Secret | None]]


class PendingLogins:
    """Implements the port LoginDesk."""

    def __init__(self, tools: LoginTools) -> None:
        self._tools = tools
        self._flows = Flows(tools.publisher)
        self._finishing: set[asyncio.Task[Any]] = set()
        self._insisting: set[asyncio.Task[None]] = set()
        self._in_turn: dict[str, asyncio.Lock] = {}
        self._stopping = False

    async def start(self) -> None:
        """Take up the logins that were pending when the last process ended."""
        for login in await self._tools.store.load_logins():
            if login.answer is not None:
                flow = self._flows.remember(login)
                with suppress(McpproxyError):  # told in the flow; the store is offered it again
                    await self._conclude(flow, login)
            elif login.expires_at > self._tools.clock.now():
                with suppress(McpproxyError):
                    await self._await_person(self._flows.remember(login))
            else:
                await self._tools.store.forget_login(login.flow_id)

    async def stop(self) -> None:
        """Let code exchanges come home; pending logins wait in the store for the next start."""
        self._stopping = True
        if self._finishing:
            await asyncio.wait(self._finishing, timeout=25)
        for task in self._insisting:
            task.cancel()
        for flow in self._flows:
            if flow.waiting is not None:
                flow.waiting.cancel()
                with suppress(asyncio.CancelledError):
                    await flow.waiting

    async def begin(self, server: str, way: LoginWay | None = None) -> LoginFlow:
        """See the port. Raises UnknownServer, LoginError (DiscoveryFailed, RegistrationFailed,
        CallbackPortBusy), StoreError: a login that could not be stored is not begun.
        """
        tools = self._tools
        upstream = self._upstream(server)
        if by_machine(upstream):
            return await self._log_in_by_machine(upstream)
        redirect_uri, challenge = await self._redirect_uri(upstream), tools.challenge(server)
        match way or _configured_way(upstream):
            case LoginWay.BROWSER:
                prepare = tools.conversation.prepare
            case LoginWay.DEVICE:
                prepare = tools.conversation.prepare_device
        login = await prepare(upstream, redirect_uri, challenge=challenge)
        await tools.store.save_login(login)
        flow = self._flows.remember(login)
        try:
            await self._await_person(flow)
        except BaseException:
            self._flows.drop(flow)
            await tools.store.forget_login(login.flow_id)
            raise
        tools.publisher.publish(LoginBegan(server, login.flow_id))
        return flow.view

    async def finish(self, redirect: str) -> LoginFlow:
        """See the port. Goes on to its end even when the caller is cancelled."""
        return await self._unhindered(self._finish(redirect))

    async def wait(self, flow_id: str, timeout: timedelta) -> LoginFlow:
        return await self._flows.wait(flow_id, timeout)

    def pending(self, server: str) -> LoginFlow | None:
        return self._flows.pending(server, self._tools.clock.now())

    async def logout(self, server: str) -> str | None:
        tools = self._tools
        await tools.stay_out(server)
        async with self._turn(server):
            done = await log_out(
                server,
                LogoutTools(tools.store, tools.lease, tools.provider, tools.clock, tools.policy),
            )
            tools.forget(server)
        if done is None:
            return None
        tools.publisher.publish(LedgerWritten(server, done.line))
        tools.publisher.publish(LoggedOut(server))
        return done.complaint

    # --- inside -----------------------------------------------------------------------------

    def _turn(self, server: str) -> asyncio.Lock:
        """A login that comes back while a logout is under way follows it, and is not erased."""
        return self._in_turn.setdefault(server, asyncio.Lock())

    def _upstream(self, server: str) -> Upstream:
        upstream = self._tools.upstreams().get(server)
        if upstream is None:
            raise UnknownServer(
                f"There is no server '{server}'.", next_step="See `mcpproxy upstream list`."
            )
        if upstream.url is None:
            raise LoginError(
                f"'{server}' is a local command; only servers with a URL have a login.",
                next_step=f"See `mcpproxy upstream logs {server}` for how it is doing.",
            )
        return upstream

    async def _log_in_by_machine(self, upstream: Upstream) -> LoginFlow:
        """At once, and to the first token: there is nobody to wait for."""
        tools, server = self._tools, upstream.name
        if upstream.problem is not None:
            raise LoginError(
                f"'{server}' is not configured to the end: {upstream.problem}.",
                next_step="Set what is missing; no other login is possible meanwhile.",
            )
        grant = await tools.seed(upstream)
        view = LoginFlow(grant.login_id, server, "", tools.clock.now())
        try:
            await tools.token(server, grant.server_url)
        except McpproxyError as error:
            return self._flows.over(view, error)
        return self._flows.over(view, None)

    async def _unhindered(self, work: Coroutine[Any, Any, _T]) -> _T:
        """To its end, even when the caller is cancelled; `stop` waits for it."""
        task = asyncio.create_task(work, name="finish-login")
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return await asyncio.shield(task)

    async def _redirect_uri(self, upstream: Upstream) -> str:
        """The configured one, else a loopback port chosen once and kept for ever: providers
        compare the redirect URI with the registered one.
        """
        if upstream.oauth is not None and upstream.oauth.redirect_uri is not None:
            return upstream.oauth.redirect_uri
        store = self._tools.store
        port = await store.get_setting(CALLBACK_PORT_SETTING)
        if port is None:
            port = str(await self._tools.listener.free_port())
            await store.set_setting(CALLBACK_PORT_SETTING, port)
        return f"http://127.0.0.1:{port}{CALLBACK_PATH}"

    async def _await_person(self, flow: Flow) -> None:
        if flow.login.device is None:
            await self._listen(flow)
            return
        flow.waiting = asyncio.create_task(
            self._ask_until_done(flow), name=f"login:{flow.login.server}"
        )

    async def _ask_until_done(self, flow: Flow) -> None:
        """Poll for the person at the other device, until the flow is over or its time is up."""
        polls = DevicePolls(flow.login, self._tools.conversation, self._tools.store)
        while not flow.done.is_set():
            left = flow.login.expires_at - self._tools.clock.now()
            if left <= timedelta(0):
                await self._expire(flow)
                return
            await asyncio.sleep(min(polls.pause, left).total_seconds())
            if self._stopping:
                return
            with suppress(McpproxyError):  # told in the flow
                await self._unhindered(self._ask(flow, polls))

    async def _ask(self, flow: Flow, polls: DevicePolls) -> None:
        try:
            answered = await polls.ask()
        except McpproxyError as error:
            self._flows.fail(flow, error)
            raise
        if answered is not None:
            await self._keep(flow, answered)

    async def _listen(self, flow: Flow) -> None:
        """Hold the redirect's port open until the flow is over or its time is up."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flow.waiting = asyncio.create_task(
            self._hold_port(flow, ready), name=f"login:{flow.login.server}"
        )
        await ready

    async def _hold_port(self, flow: Flow, ready: "asyncio.Future[None]") -> None:
        left = flow.login.expires_at - self._tools.clock.now()
        try:
            async with self._tools.listener.listening(flow.login.redirect_uri, self._receive):
                ready.set_result(None)
                async with asyncio.timeout(left.total_seconds()):
                    await flow.done.wait()
        except TimeoutError:
            await self._expire(flow)
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _expire(self, flow: Flow) -> None:
        with suppress(StoreError):
            await self._tools.store.forget_login(flow.login.flow_id)
        self._flows.fail(
            flow,
            LoginTimedOut(
                "Nobody finished the login in time.",
                next_step=f"Run `mcpproxy auth login {flow.login.server}` again.",
            ),
        )

    async def _receive(self, redirect: str) -> str:
        """The callback's handler: the name of the page to show."""
        try:
            await self.finish(redirect)
        except LoginDenied:
            return "denied"
        except McpproxyError:
            return "failed"
        return "done"

    async def _finish(self, redirect: str) -> LoginFlow:
        state = _state(redirect)
        login = await self._tools.store.take_login(state) if state else None
        if login is None:
            raise UnknownLogin(
                "This redirect belongs to no login that is waiting: it was used before, it "
                "expired, or it is not whole.",
                next_step="Paste the whole address from the browser, or start the login again.",
            )
        flow = self._flows.get(login)
        try:
            if login.expires_at <= self._tools.clock.now():
                raise LoginTimedOut(
                    "The login expired before it was finished.",
                    next_step=f"Run `mcpproxy auth login {login.server}` again.",
                )
            code = self._tools.conversation.read_redirect(login, redirect)
            answer = await self._tools.conversation.present_code(login, code)
        except McpproxyError as error:
            self._flows.fail(flow, error)
            raise
        return await self._keep(flow, replace(login, answer=answer))

    async def _keep(self, flow: Flow, answered: PendingLogin) -> LoginFlow:
        """Store the answer, then make it the server's grant."""
        try:
            await self._tools.store.save_login(answered)
        except McpproxyError as error:
            self._try_again(answered)
            self._flows.fail(flow, error)
            raise
        return await self._conclude(flow, answered)

    async def _conclude(self, flow: Flow, login: PendingLogin) -> LoginFlow:
        """Make the stored answer the server's grant."""
        if login.answer is None:
            raise AssertionError("concluded without an answer")
        tools = self._tools
        try:
            grant = tools.conversation.read_code_answer(login, login.answer, tools.clock.now())
        except McpproxyError as error:
            with suppress(StoreError):
                await tools.store.forget_login(login.flow_id)
            self._flows.fail(flow, error)
            raise
        try:
            async with self._turn(login.server):
                await tools.store.replace_grant(grant)
                current = await tools.store.load_grant(login.server)
                if current is not None:
                    tools.adopt(current)
        except McpproxyError as error:
            self._try_again(login)
            self._flows.fail(flow, error)
            raise
        return self._flows.succeed(flow, grant.tokens.expires_at)

    def _try_again(self, login: PendingLogin) -> None:
        """The provider said yes and the store does not take it: its answer exists once, so it is
        kept in memory and offered to the store until it does.
        """
        task = asyncio.create_task(self._insist(login), name=f"keep-login:{login.server}")
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)

    async def _insist(self, login: PendingLogin) -> None:
        while True:
            await asyncio.sleep(RETRY_KEEPING.total_seconds())
            try:
                await self._tools.store.save_login(login)
            except McpproxyError:
                continue
            with suppress(McpproxyError):  # told in the flow, and insisted on again
                await self._conclude(self._flows.remember(login), login)
            return


def _configured_way(upstream: Upstream) -> LoginWay:
    config = upstream.oauth
    device = config is not None and config.grant_type is GrantType.DEVICE_CODE
    return LoginWay.DEVICE if device else LoginWay.BROWSER


def _state(redirect: str) -> str:
    """The state in a redirect URL; empty when there is none or it is no URL."""
    try:
        query = urlsplit(redirect.strip()).query
    except ValueError:
        return ""
    return parse_qs(query).get("state", [""])[0]
