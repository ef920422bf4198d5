"""Logins as those who began them watch them: waiting, or over and why.

Law: in memory only, and bounded; what must not be lost is in the store.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from mcpproxy.core.errors import LoginDenied, LoginTimedOut, McpproxyError, UnknownLogin
from mcpproxy.core.notices import LoginFailed, LoginSucceeded
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.ports import LoginFlow, Publisher

MAX_FLOWS: Final = 100
"""Flows remembered at once, the finished ones included; the oldest go first."""


@dataclass(slots=True)
class Flow:
    """One login; `waiting` is whoever waits for its person."""

    login: PendingLogin
    view: LoginFlow
    done: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: "asyncio.Task[None] | None" = None


class Flows:
    """All that are known here, by id."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._flows: dict[str, Flow] = {}
        self._finished: dict[str, LoginFlow] = {}

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def get(self, login: PendingLogin) -> Flow:
        """The flow of this login, remembered from now on."""
        return self._flows.get(login.flow_id) or self.remember(login)

    def remember(self, login: PendingLogin) -> Flow:
        device = login.device
        view = LoginFlow(
            login.flow_id,
            login.server,
            login.authorization_url,
            login.expires_at,
            user_code=device.user_code if device else None,
            verification_uri=device.verification_uri if device else None,
        )
        flow = self._flows[login.flow_id] = Flow(login, view)
        for key in list(self._flows)[: max(0, len(self._flows) - MAX_FLOWS)]:
            _give_up_waiting(self._flows.pop(key))
        return flow

    def drop(self, flow: Flow) -> None:
        """It was never begun."""
        self._flows.pop(flow.login.flow_id, None)

    def pending(self, server: str, now: datetime) -> LoginFlow | None:
        """The latest that waits for its person."""
        for flow in reversed(self._flows.values()):
            view = flow.view
            if view.server == server and view.outcome is None and view.expires_at > now:
                return view
        return None

    async def wait(self, flow_id: str, timeout: timedelta) -> LoginFlow:
        """The flow once it has an outcome, or as it is when the time is up."""
        finished = self._finished.get(flow_id)
        if finished is not None:
            return finished
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

    def succeed(self, flow: Flow, token_expires_at: datetime | None) -> LoginFlow:
        flow.view = _succeeded(flow.view)
        flow.done.set()
        self._tell_success(flow.view, token_expires_at)
        return flow.view

    def fail(self, flow: Flow, error: McpproxyError) -> None:
        if flow.done.is_set():
            return
        flow.view = _failed(flow.view, error)
        flow.done.set()
        self._tell_failure(flow.view, error)

    def over(self, view: LoginFlow, error: McpproxyError | None) -> LoginFlow:
        """One that nobody had to be waited for, with what went wrong."""
        view = _succeeded(view) if error is None else _failed(view, error)
        self._finished[view.flow_id] = view
        for key in list(self._finished)[: max(0, len(self._finished) - MAX_FLOWS)]:
            del self._finished[key]
        if error is None:
            self._tell_success(view, None)
        else:
            self._tell_failure(view, error)
        return view

    def _tell_success(self, view: LoginFlow, token_expires_at: datetime | None) -> None:
        self._publisher.publish(LoginSucceeded(view.server, view.flow_id, token_expires_at))

    def _tell_failure(self, view: LoginFlow, error: McpproxyError) -> None:
        self._publisher.publish(LoginFailed(view.server, view.flow_id, error.code, error.message))


def _succeeded(view: LoginFlow) -> LoginFlow:
    return replace(view, outcome="succeeded", code=None, message="Logged in.")


def _failed(view: LoginFlow, error: McpproxyError) -> LoginFlow:
    outcome = "denied" if isinstance(error, LoginDenied) else "failed"
    if isinstance(error, LoginTimedOut):
        outcome = "timed_out"
    return replace(view, outcome=outcome, code=error.code, message=str(error))


def _give_up_waiting(flow: Flow) -> None:
    if flow.waiting is not None:
        flow.waiting.cancel()
