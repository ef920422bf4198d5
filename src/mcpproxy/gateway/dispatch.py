"""One tool call: allowed and carried out; and what the caller hears of trouble.

Law: an upstream's trouble is never our own 401. It is an answer that says what happens next.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Final

from msgspec import Raw

from mcpproxy.core.control import Profile
from mcpproxy.core.errors import (
    LoginRequired,
    McpproxyError,
    RefreshPending,
    TokenUnavailable,
    UnknownTool,
    UpstreamUnavailable,
)
from mcpproxy.core.health import rfc3339
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import Caller, may_call, may_reach, may_read
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import Catalog, Entry, exposed_head
from mcpproxy.gateway.in_turn import InTurn
from mcpproxy.gateway.login_prompt import LoginPrompts
from mcpproxy.gateway.mentions import Mentions
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.task_abilities import ANY_TASKS, task_abilities
from mcpproxy.gateway.task_names import TaskNames
from mcpproxy.gateway.task_owners import TaskOwners
from mcpproxy.gateway.tools import Tool
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

_WENT: Final = "it went while this waited for its turn, and nothing was sent"


class Dispatch:
    """Carries tool calls to upstreams."""

    def __init__(
        self,
        pool: Pool,
        catalog: Catalog,
        turns: InTurn,
        logins: LoginPrompts,
        profile: Callable[[str], Profile | None],
    ) -> None:
        """`profile` is what the profile of this name is now."""
        self._pool = pool
        self._catalog = catalog
        self.turns = turns
        self.mentions = Mentions()
        self.tasks = TaskOwners(self._upstream)
        self._logins = logins
        self._profile = profile

    def _upstream(self, server: str) -> Upstream | None:
        live = self._pool.find(server)
        return None if live is None else live.upstream

    def allows(self, caller: Caller, entry: Entry) -> bool:
        """Whether this tool exists for this caller."""
        live = self._pool.find(entry.server)
        return live is not None and may_call(caller, live.upstream, entry.tool)

    def _still(self, caller: Caller, server: str, tool: str) -> None:
        """A call that waited for its turn is let through by what holds now. Raises UnknownTool."""
        entry, now = self._catalog.find(f"{server}:{tool}"), self._now(caller)
        if entry is None or now is None or not self.allows(now, entry):
            raise UnknownTool(
                f"{server} has no tool {tool} any more: {_WENT}", next_step="List the tools again"
            )

    def _still_read(self, caller: Caller, server: str, _: str) -> None:
        """The same of anything else. Raises UpstreamUnavailable."""
        live, now = self._pool.find(server), self._now(caller)
        if live is None or now is None or not may_read(now, live.upstream):
            raise UpstreamUnavailable(
                f"{server} is not here any more: {_WENT}", next_step="List again what there is"
            )

    def _now(self, caller: Caller) -> Caller | None:
        """As its profile is now; None when that is gone."""
        if caller.profile is None:
            return caller
        profile = self._profile(caller.profile.name)
        return None if profile is None else caller.within(profile)

    def admitted(self, server: str, tool: str) -> Tool | None:
        """This tool of this server, if there is one for anybody."""
        entry = self._catalog.find(f"{server}:{tool}")
        return None if entry is None else entry.tool

    def all_admitted(self, server: str) -> Iterator[Tool]:
        """A server's tools, in its order."""
        return (entry.tool for entry in self._catalog.of(server))

    def entry(self, caller: Caller, name: str) -> Entry | None:
        """The tool of this name now, if it exists for this caller."""
        entry = self._catalog.find(name)
        return entry if entry is not None and self.allows(caller, entry) else None

    async def tell(
        self, caller: Caller, method: str, params: Raw | None, server: str | None = None
    ) -> None:
        """Pass a client's notification on to an upstream, or to all that its caller may read."""
        for live in list(self._pool):
            if server in (None, live.name) and may_read(caller, live.upstream):
                with contextlib.suppress(McpproxyError):
                    await live.notify(method, params)

    async def tried(self) -> None:
        """A moment for upstreams that were started just now: some clients list tools only once."""
        await self._pool.tried()

    async def find(self, caller: Caller, name: str, ask: Ask | None = None) -> Entry | None:
        """The tool of this name (`server__tool` or `server:tool`), if it exists for this caller.

        A client may remember names of an upstream that has not been connected yet since we were
        started: that one is waited for, and with an `ask` for a login too that it needs. Raises why
        it cannot be connected.
        """
        entry = self._catalog.find(name)
        if entry is None and (live := self._expected(caller, name)) is not None:
            await (live.introduced() if ask is None else self.introduced(live, ask))
            entry = self._catalog.find(name)
        return entry if entry is not None and self.allows(caller, entry) else None

    async def introduced(self, live: LiveUpstream, ask: Ask) -> Agreed:
        """What this upstream has said of itself, once the person has logged in if that is needed.
        Raises why it cannot be connected.
        """
        try:
            return await live.introduced()
        except McpproxyError as error:
            await self.after_login(live.name, ask, error)
            return await self._pool.get(live.name).introduced()

    def _expected(self, caller: Caller, name: str) -> LiveUpstream | None:
        """The upstream whose tool this would be, while it has not said what it has."""
        for live in self._pool:
            heads = (exposed_head(live.name), f"{live.name}:")
            if live.agreed is None and name.startswith(heads) and may_reach(caller, live.upstream):
                return live
        return None

    async def call(self, ask: Ask, entry: Entry, params: Members) -> Members:
        """The response to tools/call; `params` are the caller's, the tool's own name is put in.

        Trouble of the upstream comes back as a tool error. An unknown or forbidden tool is one
        answer: unknown.
        """
        live = self._pool.find(entry.server)
        if live is None or not may_call(ask.caller, live.upstream, entry.tool):
            return self.denied(ask, entry.server, entry.tool.name, called=entry.name)
        params["name"] = jsonrpc.raw(entry.tool.name)
        agreed = live.agreed
        if agreed is None and ANY_TASKS.may_begin(ask.client, params):
            # It was restarted just now: it must be known before a task is wished.
            with contextlib.suppress(McpproxyError):
                agreed = await self.introduced(live, ask)
        able = task_abilities(agreed)
        begins_task = able.may_begin(ask.client, params)
        if not begins_task:
            params.pop("task", None)
        if able.legacy:
            ask = TaskNames(live.name).heard_by(ask)
        response = await self.carry(live, entry.tool.name, ask, params)
        self.mentions.heard(ask.caller.name, live.name, response)
        if not begins_task:
            return response
        self.tasks.made(ask.caller, live.name, entry.tool, response)
        return TaskNames(live.name).begun(response)

    async def carry(self, live: LiveUpstream, tool: str, ask: Ask, params: Members) -> Members:
        """As `send`, with trouble as a tool error."""
        try:
            return await self.send(live, tool, ask, params)
        except McpproxyError as error:
            return await self._again(live.name, error, tool, ask, params)

    async def _again(
        self, server: str, error: McpproxyError, tool: str, ask: Ask, params: Members
    ) -> Members:
        """The call once more if the person has logged in because of its error."""
        try:
            await self.after_login(server, ask, error)
            if self.admitted(server, tool) is None:
                return self.denied(ask, server, tool)
            return await self.send(self._pool.get(server), tool, ask, params)
        except McpproxyError as later:
            return tool_error(later, server)

    async def request(
        self, live: LiveUpstream, ask: Ask, params: Members, timeout: timedelta | None = None
    ) -> Members:
        """The response to anything but a call of a tool, with trouble as an error; after a login
        if one was needed.
        """
        if task_abilities(live.agreed).legacy:
            ask = TaskNames(live.name).heard_by(ask)
        try:
            try:
                return await self.turns.request(live, ask, params, timeout, self._still_read)
            except McpproxyError as error:
                await self.after_login(live.name, ask, error)
                live = self._pool.get(live.name)
                return await self.turns.request(live, ask, params, timeout, self._still_read)
        except McpproxyError as error:
            return rpc_error(error, live.name)

    async def after_login(self, server: str, ask: Ask, error: McpproxyError) -> None:
        """Returns once the person has logged in because of this error. Otherwise raises it."""
        await self._logins.after_login(server, ask, error)
        await self._pool.settled()

    def send(
        self,
        live: LiveUpstream,
        tool: str,
        ask: Ask,
        params: Members,
        timeout: timedelta | None = None,
    ) -> Awaitable[Members]:
        """Carry out a call that is allowed, in its turn, and tell of it. `params` are those for
        the upstream. Raises Overloaded, UnknownTool, and as LiveUpstream.request.
        """
        return self.turns.call(live, tool, ask, params, timeout, self._still)

    def denied(self, ask: Ask, server: str, tool: str, *, called: str = "") -> Members:
        """The answer to a call of what is not there for this caller; that it was tried is told."""
        self.tell_denied(ask, server, tool)
        return unknown_tool(called or tool)

    def tell_denied(self, ask: Ask, server: str, tool: str) -> None:
        """`server` is empty where the name does not lead to one."""
        self.turns.denied(ask, server, tool)


def unknown_tool(name: str) -> Members:
    return jsonrpc.error(jsonrpc.INVALID_PARAMS, f"Unknown tool: {name}")


def words_for(error: McpproxyError, server: str) -> str:
    """What went wrong and what happens next, for the person or agent behind a call."""
    parts = [error.message]
    if isinstance(error, RefreshPending | UpstreamUnavailable) and error.retry_at is not None:
        parts.append(f"The next try is at {rfc3339(error.retry_at)}")
    if error.next_step:
        parts.append(error.next_step)
    elif isinstance(error, LoginRequired):
        parts.append(f"Log in with: mcpproxy auth login {server}")
    elif isinstance(error, TokenUnavailable):
        parts.append("It is retried by itself; call again later")
    return ". ".join(part.rstrip(".") for part in parts) + "."


def tool_error(error: McpproxyError, server: str) -> Members:
    """Trouble as the result of a tool, so that the model behind the client reads it."""
    return jsonrpc.result(
        jsonrpc.encode(
            {
                "content": [{"type": "text", "text": words_for(error, server)}],
                "isError": True,
                "_meta": {"mcpproxy/error": _facts(error, server)},
            }
        )
    )


def rpc_error(error: McpproxyError, server: str) -> Members:
    """Trouble as the answer to any other method."""
    words = words_for(error, server)
    return jsonrpc.error(jsonrpc.UPSTREAM_ERROR, words, _facts(error, server))


def _facts(error: McpproxyError, server: str) -> dict[str, object]:
    facts: dict[str, object] = {"code": error.code, "server": server}
    if isinstance(error, RefreshPending | UpstreamUnavailable) and error.retry_at is not None:
        facts["retry_at"] = rfc3339(error.retry_at)
    return facts
