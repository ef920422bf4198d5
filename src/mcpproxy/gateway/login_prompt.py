"""A login that is needed, brought to the person inside their client.

Law: nobody is sent anywhere unasked: the address goes to the client, which asks its person. Only
who may change the proxy may begin a login: with another's account in it, everybody would work.
"""

import asyncio
import secrets
from asyncio import FIRST_COMPLETED
from collections.abc import Callable
from datetime import timedelta

from mcpproxy.core.errors import LoginRequired, McpproxyError
from mcpproxy.core.ports import Clock, LoginDesk, LoginFlow
from mcpproxy.gateway.abilities import ELICIT, MAY_ASK, can_open_urls
from mcpproxy.gateway.access import Permit
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.failures import Unauthorized
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.wire import jsonrpc

FindDesk = Callable[[], LoginDesk | None]
_COMPLETE = "notifications/elicitation/complete"


def needs_login(error: McpproxyError) -> bool:
    """Whether a person must log in before this can work."""
    return isinstance(error, LoginRequired) or isinstance(error.__cause__, Unauthorized)


class LoginPrompts:
    """Begins logins for calls that need them. A person is asked once for one server at a time."""

    def __init__(self, desk: FindDesk, clock: Clock, limits: GatewayLimits) -> None:
        self._desk = desk
        self._clock = clock
        self._limits = limits
        self._beginning: dict[str, asyncio.Task[LoginFlow | None]] = {}
        self._begun_at: dict[str, timedelta] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._over = asyncio.Event()

    async def after_login(self, server: str, ask: Ask, error: McpproxyError) -> None:
        """Returns once the person has logged in because of this error. Otherwise raises it, with
        where they can log in if that is known.
        """
        if not needs_login(error):
            raise error
        if await self._logged_in(server, ask):
            return
        flow = await self._flow(server, ask)
        if flow is None:
            raise error
        step = error.next_step or f"Log in with: mcpproxy auth login {server}"
        raise LoginRequired(error.message, next_step=f"{step}. Or open {_link(flow)} ") from error

    async def _logged_in(self, server: str, ask: Ask) -> bool:
        """Whether the person behind this request was asked and has logged in now."""
        client = ask.client
        if client is None or client.asker is None or not can_open_urls(client.capabilities):
            return False
        if client.era is Era.MODERN and ask.method not in MAY_ASK:
            return False
        flow = await self._flow(server, ask)
        if flow is None:
            return False
        key = (server, client.key if client.era is Era.LEGACY else ask.caller.name)
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(self._ask(client, ask, flow))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
            try:
                return await asking
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if asking.cancelled() and (task is None or not task.cancelling()):
                    return False  # only what the person was asked is given up
                asking.cancel()
                raise
        # Another call of the same client asks already: its answer is this one's too.
        await asyncio.wait((asking,), timeout=self._limits.ask_timeout.total_seconds())
        return asking.done() and not asking.cancelled() and asking.result()

    def cut_off(self) -> None:
        """Nobody is waited for any longer: the calls say that a login is needed."""
        self._over.set()
        for asking in self._asking.values():
            asking.cancel()

    # --- one login --------------------------------------------------------------------------

    async def _flow(self, server: str, ask: Ask) -> LoginFlow | None:
        """The login that waits for the person, begun if need be; None when there is none."""
        desk = self._desk()
        if desk is None or Permit.ADMIN not in ask.caller.permits:
            return None
        if (pending := desk.pending(server)) is not None:
            return pending
        beginning = self._beginning.get(server)
        if beginning is None:
            if self._over.is_set():
                return None
            now, last = self._clock.elapsed(), self._begun_at.get(server)
            if last is not None and now - last < self._limits.login_pause:
                return None
            self._begun_at[server] = now
            beginning = asyncio.create_task(self._begin(desk, server))
            self._beginning[server] = beginning
            beginning.add_done_callback(lambda _: self._beginning.pop(server, None))
        over = asyncio.create_task(self._over.wait())
        patience = self._limits.login_begin.total_seconds()
        try:
            await asyncio.wait((beginning, over), timeout=patience, return_when=FIRST_COMPLETED)
        finally:
            over.cancel()
        return beginning.result() if beginning.done() and not beginning.cancelled() else None

    async def _begin(self, desk: LoginDesk, server: str) -> LoginFlow | None:
        try:
            flow = await desk.begin(server)
        except McpproxyError:
            return None  # the desk tells of it; the call says what it needs anyway
        return flow if flow.authorization_url or flow.verification_uri else None

    async def _ask(self, client: Client, ask: Ask, flow: LoginFlow) -> bool:
        desk, asker = self._desk(), client.asker
        if desk is None or asker is None:
            return False
        elicitation = secrets.token_urlsafe(12)
        params = {
            "mode": "url",
            "message": _message(flow),
            "url": _link(flow),
            "elicitationId": elicitation,
        }
        try:
            answer = await asker.ask(ELICIT, jsonrpc.raw(params))
            result = jsonrpc.members(answer.get("result"))
            if jsonrpc.text(result.get("action")) != "accept":
                return False
            done = await desk.wait(flow.flow_id, self._limits.ask_timeout)
        except McpproxyError:
            return False
        if client.era is Era.LEGACY and ask.sink is not None:
            told = jsonrpc.notification(_COMPLETE, jsonrpc.raw({"elicitationId": elicitation}))
            ask.sink(jsonrpc.members(told))
        return done.outcome == "succeeded"


def _link(flow: LoginFlow) -> str:
    return flow.authorization_url or flow.verification_uri or ""


def _message(flow: LoginFlow) -> str:
    said = f"{flow.server} needs you to log in."
    return f"{said} The code is {flow.user_code}." if flow.user_code else said
