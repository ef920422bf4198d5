"""Tasks of all servers at one endpoint: asked for, cancelled and listed.

Law: the name of a task says which server it is at. For a caller that did not make it, or may not
reach its server, it does not exist; nothing is kept here that a restart could lose.
"""

import asyncio
import base64
import binascii
from typing import Final

import msgspec

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller, may_reach
from mcpproxy.gateway.addresses import address_head
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Era
from mcpproxy.gateway.dispatch import Dispatch, rpc_error, words_for
from mcpproxy.gateway.faces import method_not_found
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.task_abilities import EXTENSION, knows_extension, task_abilities, together
from mcpproxy.gateway.task_names import TaskNames, split_task
from mcpproxy.gateway.task_owners import LIST, RESULT
from mcpproxy.gateway.text import short
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_METHODS: Final = {
    Era.LEGACY: frozenset({"tasks/get", RESULT, "tasks/cancel", LIST}),
    Era.MODERN: frozenset({"tasks/get", "tasks/update", "tasks/cancel"}),
}
_NEEDED: Final[dict[str, object]] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
_BAD_CURSOR: Final = "This cursor is none of this list; ask for the list without one"
_AGAIN: Final = "Ask again: the list goes on where it stopped."

_decode_tasks: Final = msgspec.json.Decoder(list[Members]).decode
_Cursors = dict[str, str | None]
"""By server where its list goes on; None: at its beginning."""
_decode_cursors: Final = msgspec.json.Decoder(_Cursors).decode

_Page = tuple[list[Members], str | None]
"""Tasks under the names of the aggregate, and the server's cursor for what follows."""


class Tasks:
    """Answers the methods of tasks for the aggregate."""

    def __init__(self, pool: Pool, dispatch: Dispatch, limits: GatewayLimits) -> None:
        self._pool = pool
        self._dispatch = dispatch
        self._owners = dispatch.tasks
        self._limits = limits

    async def answer(self, ask: Ask) -> Members:
        era = Era.LEGACY if ask.client is None else ask.client.era
        reached = (live.agreed for live in self._pool if may_reach(ask.caller, live.upstream))
        if ask.method not in _METHODS[era] or not together(reached).for_era(era):
            return method_not_found(ask.method)
        if era is Era.MODERN and (ask.client is None or not knows_extension(ask.client)):
            said = f"The request does not declare {EXTENSION}"
            return jsonrpc.error(eras.MISSING_CAPABILITY, said, _NEEDED)
        return await (self._list(ask) if ask.method == LIST else self._about(ask, era))

    # --- one task -----------------------------------------------------------------------------

    async def _about(self, ask: Ask, era: Era) -> Members:
        shown = jsonrpc.text(ask.params.get("taskId"))
        if shown is None:
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, f"{ask.method} needs a taskId")
        found = self._found(ask.caller, shown)
        if found is None:
            return _unknown(shown)
        live, own = found
        try:
            agreed = await self._dispatch.introduced(live, ask)
            live = self._pool.get(live.name)
        except McpproxyError as error:
            return rpc_error(error, live.name)
        if not task_abilities(agreed).for_era(era):
            return _unknown(shown)
        names = TaskNames(live.name)
        params = {**ask.params, "taskId": jsonrpc.raw(own)}
        limit = self._limits.task_wait if ask.method == RESULT else None
        response = await self._dispatch.request(live, ask, params, limit)
        if ask.method == RESULT:
            self._dispatch.mentions.heard(ask.caller.name, live.name, response)
            return names.result(response)
        if era is Era.MODERN:
            self._mention(ask.caller, live.name, response)
        return names.told(response)

    def _found(self, caller: Caller, shown: str) -> tuple[LiveUpstream, str] | None:
        """Where the task is, and its id there; None where it does not exist for this caller."""
        split = split_task(shown)
        if split is None:
            return None
        head, own = split
        for server in self._pool.names:
            if address_head(server) != head:
                continue
            live = self._pool.find(server)
            if live is None or not may_reach(caller, live.upstream):
                return None
            known = self._owners.may_see(caller, server, {"taskId": jsonrpc.raw(own)})
            return (live, own) if known else None
        return None

    def _mention(self, caller: Caller, server: str, response: Members) -> None:
        """A task that is done has the result of its call in it, links and all."""
        raw = response.get("result")
        if raw is None or b'"uri"' not in bytes(raw):
            return
        try:
            done = jsonrpc.members(raw).get("result")
        except ProtocolError:
            return
        if done is not None:
            self._dispatch.mentions.heard(caller.name, server, {"result": done})

    # --- all of them --------------------------------------------------------------------------

    async def _list(self, ask: Ask) -> Members:
        """A page of each server that has more, side by side. A server that does not say now costs
        its own tasks only, and is asked again for the next page; it is an error when none says.
        """
        cursor = ask.params.get("cursor")
        cursors = None if jsonrpc.is_null(cursor) else _cursors(jsonrpc.text(cursor))
        if cursors is not None and not cursors:
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, _BAD_CURSOR)
        lives = [
            live
            for live in sorted(self._pool, key=lambda live: live.name)
            if may_reach(ask.caller, live.upstream) and _goes_on(live, cursors)
        ]
        pages = await asyncio.gather(
            *(self._page(live, ask, (cursors or {}).get(live.name)) for live in lives)
        )
        listed: list[Members] = []
        following: _Cursors = {}
        trouble: list[str] = []
        for live, page in zip(lives, pages, strict=True):
            if isinstance(page, str):
                trouble.append(page)
                following[live.name] = (cursors or {}).get(live.name)
                continue
            listed += page[0]
            if page[1] is not None:
                following[live.name] = page[1]
        if lives and len(trouble) == len(lives):
            return jsonrpc.error(jsonrpc.UPSTREAM_ERROR, " ".join((*trouble, _AGAIN)))
        result: dict[str, object] = {"tasks": listed}
        if following:
            result["nextCursor"] = base64.urlsafe_b64encode(jsonrpc.encode(following)).decode()
        return jsonrpc.result(jsonrpc.raw(result))

    async def _page(self, live: LiveUpstream, ask: Ask, cursor: str | None) -> _Page | str:
        """Or why the server does not say."""
        params = None if cursor is None else {"cursor": jsonrpc.raw(cursor)}
        names = TaskNames(live.name)
        call = Call(LIST, params, None, ask.client)
        try:
            response = await live.request(call, self._limits.first_list_wait)
            result = jsonrpc.members(response.get("result"))
            tasks = _decode_tasks(result["tasks"])
        except (ProtocolError, KeyError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return f"{live.name} gave no list of its tasks."
        except McpproxyError as error:
            return words_for(error, live.name)
        sees = self._owners.may_see
        own = [names.listed(task) for task in tasks if sees(ask.caller, live.name, task)]
        following = jsonrpc.text(result.get("nextCursor"))
        return own, None if following == cursor else following


def _goes_on(live: LiveUpstream, cursors: _Cursors | None) -> bool:
    """Whether there may be more of this one. One that we restarted has not said yet that it lists,
    and did when its cursor was made.
    """
    lists = task_abilities(live.agreed).lists
    return lists if cursors is None else live.name in cursors and (lists or live.agreed is None)


def _cursors(cursor: str | None) -> _Cursors:
    """The servers' own cursors by server; none when this is no cursor of ours."""
    try:
        return _decode_cursors(base64.urlsafe_b64decode(cursor or ""))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return {}


def _unknown(shown: str) -> Members:
    said = (
        f"Task not found: {short(shown)}. At this endpoint the id of a task begins with its server"
    )
    return jsonrpc.error(jsonrpc.INVALID_PARAMS, said)
