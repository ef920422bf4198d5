"""Logins that wait for a person: begun here, finished by a redirect, watched by whoever asked.

Law: a state is used once. The code's answer is stored before it is read, so a crash between the
provider's yes and our save loses nothing. Logins in parallel know nothing of each other; the one
finished last is the account in use.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final
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
from mcpproxy.core.ledger import logout_line
from mcpproxy.core.model import Grant, PendingLogin, Upstream
from mcpproxy.core.notices import LoggedOut, LoginBegan, LoginFailed, LoginSucceeded
from mcpproxy.core.ports import CallbackListener, Clock, LoginFlow, Publisher, Store
from mcpproxy.core.provider_ports import AuthorizationServer, LoginConversation

CALLBACK_PATH: Final = "/oauth/callback"
CALLBACK_PORT_SETTING: Final = "callback_port"
RETRY_KEEPING: Final = timedelta(seconds=5)

MAX_FLOWS: Final = 100
"""Flows remembered at once, the finished ones included; the oldest go first."""


@dataclass(slots=True)
class _Flow:
    login: PendingLogin
    view: LoginFlow
    done: asyncio.Event = field(default_factory=asyncio.Event)
    listening: "asyncio.Task[None] | None" = None


@dataclass(frozen=True, slots=True)
class LoginTools:
    """What logins work with. `challenge` is an upstream's last WWW-Authenticate, if any."""

    store: Store
    conversation: LoginConversation
    provider: AuthorizationServer
    listener: CallbackListener
    clock: Clock
    publisher: Publisher
    upstreams: Callable[[], Mapping[str, Upstream]]
    challenge: Callable[[str], str | None]
    adopt: Callable[[Grant], None]
    forget: Callable[[str], None]


class PendingLogins:
    """Implements the port LoginDesk."""

    def __init__(self, tools: LoginTools) -> None:
        self._tools = tools
        self._flows: dict[str, _Flow] = {}
        self._finishing: set[asyncio.Task[LoginFlow]] = set()
        self._insisting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take up the logins that were pending when the last process ended."""
        for login in await self._tools.store.load_logins():
            if login.answer is not None:
                flow = self._remember(login)
                with suppress(McpproxyError):  # told in the flow; the store is offered it again
                    await self._conclude(flow, login)
            elif login.expires_at > self._tools.clock.now():
                with suppress(McpproxyError):
                    await self._listen(self._remember(login))
            else:
                await self._tools.store.forget_login(login.flow_id)

    async def stop(self) -> None:
        """Let code exchanges come home; pending logins wait in the store for the next start."""
        if self._finishing:
            await asyncio.wait(self._finishing, timeout=25)
        for task in self._insisting:
            task.cancel()
        for flow in self._flows.values():
            if flow.listening is not None:
                flow.listening.cancel()
                with suppress(asyncio.CancelledError):
                    await flow.listening

    async def begin(self, server: str) -> LoginFlow:
        """Discover, register, and hand out the URL for the browser.

        Raises UnknownServer, LoginError (DiscoveryFailed, RegistrationFailed, CallbackPortBusy),
        StoreError: a login that could not be stored is not begun.
        """
        tools = self._tools
        upstream = tools.upstreams().get(server)
        if upstream is None:
            raise UnknownServer(
                f"There is no server '{server}'.", next_step="See `mcpproxy upstream list`."
            )
        if upstream.url is None:
            raise LoginError(
                f"'{server}' is a local command; only servers with a URL have a login.",
                next_step=f"See `mcpproxy upstream logs {server}` for how it is doing.",
            )
        redirect_uri = await self._redirect_uri(upstream)
        login = await tools.conversation.prepare(
            upstream, redirect_uri, challenge=tools.challenge(server)
        )
        await tools.store.save_login(login)
        flow = self._remember(login)
        try:
            await self._listen(flow)
        except BaseException:
            self._flows.pop(login.flow_id, None)
            await tools.store.forget_login(login.flow_id)
            raise
        tools.publisher.publish(LoginBegan(server, login.flow_id))
        return flow.view

    async def finish(self, redirect: str) -> LoginFlow:
        """See the port. Goes on to its end even when the caller is cancelled."""
        task = asyncio.create_task(self._finish(redirect), name="finish-login")
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return await asyncio.shield(task)

    async def wait(self, flow_id: str, timeout: timedelta) -> LoginFlow:
        flow = self._flows.get(flow_id)
        if flow is None:
            raise UnknownLogin(
                "This login is not known here (any more).",
                next_step="Start it again with `mcpproxy auth login NAME`.",
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                await flow.done.wait()
        return flow.view

    def pending(self, server: str) -> LoginFlow | None:
        now = self._tools.clock.now()
        for flow in reversed(self._flows.values()):
            view = flow.view
            if view.server == server and view.outcome is None and view.expires_at > now:
                return view
        return None

    async def logout(self, server: str) -> str | None:
        tools = self._tools
        grant = await tools.store.load_grant(server)
        if grant is None:
            tools.forget(server)
            return None
        complaint = await tools.provider.revoke(grant)
        line = logout_line(grant, tools.clock.now(), complaint)
        await tools.store.forget_grant(server, line=line)
        tools.forget(server)
        tools.publisher.publish(LoggedOut(server))
        return complaint

    # --- inside -----------------------------------------------------------------------------

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

    def _remember(self, login: PendingLogin) -> _Flow:
        view = LoginFlow(login.flow_id, login.server, login.authorization_url, login.expires_at)
        flow = self._flows[login.flow_id] = _Flow(login, view)
        for key in list(self._flows)[: max(0, len(self._flows) - MAX_FLOWS)]:
            self._drop(self._flows.pop(key))
        return flow

    def _drop(self, flow: _Flow) -> None:
        if flow.listening is not None:
            flow.listening.cancel()

    async def _listen(self, flow: _Flow) -> None:
        """Hold the redirect's port open until the flow is over or its time is up."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flow.listening = asyncio.create_task(
            self._hold_port(flow, ready), name=f"login:{flow.login.server}"
        )
        await ready

    async def _hold_port(self, flow: _Flow, ready: "asyncio.Future[None]") -> None:
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

    async def _expire(self, flow: _Flow) -> None:
        with suppress(StoreError):
            await self._tools.store.forget_login(flow.login.flow_id)
        self._close(
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
        flow = self._flows.get(login.flow_id) or self._remember(login)
        try:
            if login.expires_at <= self._tools.clock.now():
                raise LoginTimedOut(
                    "The login expired before it was finished.",
                    next_step=f"Run `mcpproxy auth login {login.server}` again.",
                )
            code = self._tools.conversation.read_redirect(login, redirect)
            answer = await self._tools.conversation.present_code(login, code)
        except McpproxyError as error:
            self._close(flow, error)
            raise
        answered = replace(login, answer=answer)
        try:
            await self._tools.store.save_login(answered)
        except McpproxyError as error:
            self._try_again(answered)
            self._close(flow, error)
            raise
        return await self._conclude(flow, answered)

    async def _conclude(self, flow: _Flow, login: PendingLogin) -> LoginFlow:
        """Make the stored answer the server's grant."""
        if login.answer is None:
            raise AssertionError("concluded without an answer")
        tools = self._tools
        try:
            grant = tools.conversation.read_code_answer(login, login.answer, tools.clock.now())
        except McpproxyError as error:
            with suppress(StoreError):
                await tools.store.forget_login(login.flow_id)
            self._close(flow, error)
            raise
        try:
            await tools.store.replace_grant(grant)
            current = await tools.store.load_grant(login.server)
        except McpproxyError as error:
            self._try_again(login)
            self._close(flow, error)
            raise
        if current is not None:
            tools.adopt(current)
        flow.view = replace(flow.view, outcome="succeeded", code=None, message="Logged in.")
        flow.done.set()
        tools.publisher.publish(
            LoginSucceeded(login.server, login.flow_id, grant.tokens.expires_at)
        )
        return flow.view

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
                await self._conclude(self._remember(login), login)
            return

    def _close(self, flow: _Flow, error: McpproxyError) -> None:
        if flow.done.is_set():
            return
        outcome = "denied" if isinstance(error, LoginDenied) else "failed"
        if isinstance(error, LoginTimedOut):
            outcome = "timed_out"
        flow.view = replace(flow.view, outcome=outcome, code=error.code, message=str(error))
        flow.done.set()
        self._tools.publisher.publish(
            LoginFailed(flow.login.server, flow.login.flow_id, error.code, error.message)
        )


def _state(redirect: str) -> str:
    """The state in a redirect URL; empty when there is none or it is no URL."""
    try:
        query = urlsplit(redirect.strip()).query
    except ValueError:
        return ""
    return parse_qs(query).get("state", [""])[0]
