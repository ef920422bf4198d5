"""Whose task is which: all callers share one session with an upstream, and it keeps one list.

Law: a task belongs to the caller whose call made it; for anybody else it does not exist. What
nobody is known to own (we were restarted meanwhile) only a caller without limits may see.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

STATUS: Final = "notifications/tasks/status"
LIST: Final = "tasks/list"
RESULT: Final = "tasks/result"
_MAX_KEPT: Final = 10_000

_decode_array: Final = msgspec.json.Decoder(list[Members]).decode


class TaskOwners:
    """Callers by server and task id, the oldest first."""

    def __init__(self) -> None:
        self._owners: OrderedDict[tuple[str, str], str] = OrderedDict()

    def made(self, caller: Caller, server: str, response: Members) -> None:
        """A call was answered, perhaps with a task."""
        raw = response.get("result")
        if raw is None or b'"taskId"' not in bytes(raw):
            return
        try:
            result = jsonrpc.members(raw)
            task = jsonrpc.members(result.get("task")) or result
        except ProtocolError:
            return
        task_id = jsonrpc.text(task.get("taskId"))
        if task_id is not None:
            self._owners[server, task_id] = caller.name
            while len(self._owners) > _MAX_KEPT:
                self._owners.popitem(last=False)

    def may_see(self, caller: Caller, server: str, params: Members) -> bool:
        """Whether the task that these params name exists for this caller."""
        owner = self._owners.get((server, jsonrpc.text(params.get("taskId")) or ""))
        return caller.unlimited if owner is None else owner == caller.name

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
