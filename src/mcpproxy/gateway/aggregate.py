"""The face of all upstreams together, in one routing mode.

Law: a mode decides how tools are shown and called; resources, prompts, completion and logging are
the same in every mode.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.access import Caller, may_read
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import Stock
from mcpproxy.gateway.changes import PROMPTS_CHANGED, RESOURCES_CHANGED
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.faces import TOOLS_CHANGED, method_not_found
from mcpproxy.gateway.gathered import Gathered
from mcpproxy.gateway.hub import News
from mcpproxy.gateway.introductions import Introductions
from mcpproxy.gateway.levels import LEVELS, LOG
from mcpproxy.gateway.modes.mode import Mode
from mcpproxy.gateway.notifications import UPDATED
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.task_names import TaskNames
from mcpproxy.gateway.task_owners import METHODS, STATUS
from mcpproxy.gateway.tasks import Tasks
from mcpproxy.gateway.wanted_levels import WantedLevels
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_ELICITED: Final = "notifications/elicitation/complete"
_DONE: Final = b"{}"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the aggregates of all modes share."""

    pool: Pool
    stock: Stock
    gathered: Gathered
    levels: WantedLevels
    tasks: Tasks


class Aggregate:
    """It is a `Face`."""

    def __init__(self, mode: Mode, holdings: Holdings) -> None:
        self.server = None
        self.changes = mode.changes
        self._mode = mode
        self._pool = holdings.pool
        self._levels = holdings.levels
        self._introductions = Introductions(mode, holdings.pool, holdings.stock)
        gathered = holdings.gathered
        self._methods: Mapping[str, Callable[[Ask], Awaitable[Members]]] = {
            "tools/call": self._call,
            "tools/list": self._tools,
            "resources/read": gathered.read,
            "resources/list": gathered.resources,
            "resources/templates/list": gathered.templates,
            "resources/subscribe": gathered.subscribe,
            "resources/unsubscribe": gathered.unsubscribe,
            "prompts/get": gathered.prompt,
            "prompts/list": gathered.prompts,
            "completion/complete": gathered.complete,
            "logging/setLevel": self._set_level,
            "ping": _pong,
            **dict.fromkeys(METHODS, holdings.tasks.answer),
        }

    async def introduction(self, caller: Caller, era: Era) -> Members:
        return self._introductions.of(caller, era)

    async def answer(self, ask: Ask) -> Members:
        carry_out = self._methods.get(ask.method)
        if carry_out is None:
            return method_not_found(ask.method)
        return await carry_out(ask)

    async def told(self, caller: Caller, method: str, params: Raw | None) -> None:
        await self._mode.told(caller, method, params)

    def definition(self, caller: Caller, tool: str) -> bytes | None:
        return self._mode.definition(caller, tool)

    def shown(self, news: News) -> News | None:
        """Lists that changed, and what is for some clients only: that is in their words by then."""
        match news.method:
            case method if method == TOOLS_CHANGED:
                return news if self.changes else None
            case method if method in (RESOURCES_CHANGED, PROMPTS_CHANGED):
                return news
            case method if method == _ELICITED:
                return _in_names(news)
            case method if method == UPDATED and news.to is not None:
                return news
            case method if method == LOG and news.to is not None:
                return _in_names(_with_server(news))
            case method if method == STATUS and news.to is not None:
                return replace(news, message=TaskNames(news.server).state(news.message))
            case _:
                return None

    async def _call(self, ask: Ask) -> Members:
        name = jsonrpc.text(ask.params.get("name"))
        if name is None:
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, "tools/call needs a name")
        return await self._mode.call(ask, name)

    async def _tools(self, ask: Ask) -> Members:
        return await self._mode.tools(ask)

    async def _set_level(self, ask: Ask) -> Members:
        """Ask all upstreams for it, and wait for none: how they take it is not the client's."""
        level = jsonrpc.text(ask.params.get("level"))
        if level not in LEVELS:
            said = f"level must be one of {', '.join(LEVELS)}"
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, said)
        if ask.client is not None:
            readable = [live for live in self._pool if may_read(ask.caller, live.upstream)]
            self._levels.set_for_all(ask.client.key, level, [live.name for live in readable])
        return jsonrpc.result(_DONE)


async def _pong(ask: Ask) -> Members:
    return jsonrpc.result(_DONE)


def _in_names(news: News) -> News:
    """What belongs to a task, under the name that this has here."""
    return replace(news, message=TaskNames(news.server).notified(news.message))


def _with_server(news: News) -> News:
    """A log message that says which server it is of."""
    try:
        params = jsonrpc.members(news.message.get("params"))
    except ProtocolError:
        return news
    logger = jsonrpc.text(params.get("logger"))
    name = f"{news.server}/{logger}" if logger else news.server
    params = {**params, "logger": jsonrpc.raw(name)}
    return replace(news, message={**news.message, "params": Raw(jsonrpc.encode(params))})
