"""Whose task is which: all callers share one session with an upstream, and it keeps one list.

Law: a task belongs to the caller whose call made it; for anybody else it does not exist, nor for
that one where it may not call the tool that made it. What nobody is known to own (we were restarted
meanwhile) only a caller without limits may see.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from mcpproxy.core.errors import ProtocolError
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.access import Caller, may_call
from mcpproxy.gateway.shares import Holder, Shares
from mcpproxy.gateway.tools import Tool
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

STATUS: Final = "notifications/tasks/status"
LIST: Final = "tasks/list"
RESULT: Final = "tasks/result"
METHODS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel", LIST, RESULT})
# Some hundred bytes each. Of the caller that made the most the oldest is forgotten.
MAX_KEPT: Final = 10_000

_decode_array: Final = msgspec.json.Decoder(list[Members]).decode


@dataclass(frozen=True, slots=True)
class _Made:
    """`tool` as it was: what it may do is what the task does."""

    owner: Holder
    tool: Tool


class TaskOwners:
    """Who made a task with which tool, by server and task id. `find` is the server of this name,
    if it is offered.
    """

    def __init__(self, find: Callable[[str], Upstream | None]) -> None:
        self._find = find
        self._made: dict[tuple[str, str], _Made] = {}
        self._shares: Shares[tuple[str, str]] = Shares()

    def made(self, caller: Caller, server: str, tool: Tool, response: Members) -> None:
        """A call of this tool was answered, perhaps with a task."""
        raw = response.get("result")
        if raw is None or b'"taskId"' not in bytes(raw):
            return
        try:
            result = jsonrpc.members(raw)
            task = jsonrpc.members(result.get("task")) or result
        except ProtocolError:
            return
        task_id = jsonrpc.text(task.get("taskId"))
        if task_id is None:
            return
        owner = Holder(caller.name)
        self._forget((server, task_id))
        self._made[server, task_id] = _Made(owner, tool)
        self._shares.add(owner, (server, task_id))
        if self._shares.count > MAX_KEPT:
            self._forget(self._shares.oldest(self._shares.most(owner)))

    def _forget(self, task: tuple[str, str]) -> None:
        made = self._made.pop(task, None)
        if made is not None:
            self._shares.drop(made.owner, task)

    def may_see(self, caller: Caller, server: str, params: Members) -> bool:
        """Whether the task that these params name exists for this caller."""
        made = self._made.get((server, jsonrpc.text(params.get("taskId")) or ""))
        if made is None:
            return caller.unlimited
        upstream = self._find(server)
        is_there = upstream is not None and may_call(caller, upstream, made.tool)
        return is_there and made.owner.caller == caller.name

    def seen(self, caller: Caller, server: str, response: Members) -> Members:
        """The response to tasks/list with the caller's own tasks."""
        try:
            result = jsonrpc.members(response.get("result"))
            tasks = _decode_array(result["tasks"])
        except (ProtocolError, KeyError, msgspec.DecodeError, RecursionError):
            return response
        own = [task for task in tasks if self.may_see(caller, server, task)]
        if len(own) == len(tasks):
            return response
        result["tasks"] = jsonrpc.raw(own)
        return {**response, "result": jsonrpc.raw(result)}
