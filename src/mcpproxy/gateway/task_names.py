"""Tasks as the clients of the aggregate name them: `docs+` before an id of the server `docs`.

Law: a name is made of the server's name and its own id alone and leads back to exactly these, so
it holds over a restart. An id is exchanged where the protocol puts one, and nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from msgspec import Raw

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.addresses import address_head
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Asker
from mcpproxy.gateway.session import Sink
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

RELATED: Final = "io.modelcontextprotocol/related-task"
"""In `_meta`: the task that a message belongs to (2025-11-25)."""

_MARK: Final = "+"
_TASK: Final = b'"task"'
# A slash may be escaped in JSON, what follows it is not.
_RELATED_HINT: Final = b"related-task"
_ID: Final = "taskId"

_Exchange = Callable[[str], str]


def split_task(shown: str) -> tuple[str, str] | None:
    """The head that names the server, and the server's own id; None if this is no name of ours."""
    head, mark, own = shown.partition(_MARK)
    return (head, own) if head and mark and own else None


@dataclass(frozen=True, slots=True)
class TaskNames:
    """The tasks of one server."""

    server: str

    def shown(self, own: str) -> str:
        return f"{address_head(self.server)}{_MARK}{own}"

    def own(self, shown: str) -> str:
        """The server's own id; anything else comes back as it is."""
        split = split_task(shown)
        return split[1] if split and split[0] == address_head(self.server) else shown

    # --- what the server answers --------------------------------------------------------------

    def begun(self, response: Members) -> Members:
        """The response to tools/call, which may be a task instead of its result."""
        raw = response.get("result")
        if raw is None or b'"taskId"' not in bytes(raw):
            return response
        try:
            result = jsonrpc.members(raw)
            if bytes(result.get("resultType", b"")) == _TASK:
                result = _exchanged(result, self.shown)
            elif "task" in result:
                task = _exchanged(jsonrpc.members(result["task"]), self.shown)
                result["task"] = jsonrpc.raw(task)
        except ProtocolError:
            return response
        return _with_result(response, _related(jsonrpc.raw(result), self.shown))

    def told(self, response: Members) -> Members:
        """The response to what was asked about one task."""
        raw = response.get("result")
        if raw is None:
            return response
        try:
            result = _exchanged(jsonrpc.members(raw), self.shown)
        except ProtocolError:
            return response
        return _with_result(response, _related(jsonrpc.raw(result), self.shown))

    def result(self, response: Members) -> Members:
        """The response to tasks/result: the tool's own result, which says whose it is."""
        raw = response.get("result")
        return response if raw is None else _with_result(response, _related(raw, self.shown))

    def listed(self, task: Members) -> Members:
        return _exchanged(task, self.shown)

    # --- what it says and asks meanwhile ------------------------------------------------------

    def notified(self, message: Members) -> Members:
        """A notification: of the state of a task, or of anything that belongs to one."""
        params = message.get("params")
        if params is None:
            return message
        return {**message, "params": _related(params, self.shown)}

    def state(self, message: Members) -> Members:
        """`notifications/tasks/status`."""
        try:
            params = _exchanged(jsonrpc.members(message.get("params")), self.shown)
        except ProtocolError:
            return message
        return self.notified({**message, "params": jsonrpc.raw(params)})

    def heard_by(self, ask: Ask) -> Ask:
        """The same request, whose client hears of tasks, and is asked for them, by these names."""
        sink, client = ask.sink, ask.client
        if client is not None and client.asker is not None:
            client = replace(client, asker=_Asker(client.asker, self))
        return replace(ask, sink=None if sink is None else _Hear(sink, self), client=client)

    def asked(self, params: Raw | None) -> Raw | None:
        return None if params is None else _related(params, self.shown)

    def answered(self, answer: Members) -> Members:
        """A client's answer, in the server's words."""
        raw = answer.get("result")
        return answer if raw is None else _with_result(answer, _related(raw, self.own))


@dataclass(frozen=True, slots=True)
class _Hear:
    sink: Sink
    names: TaskNames

    def __call__(self, message: Members) -> None:
        self.sink(self.names.notified(message))


@dataclass(frozen=True, slots=True)
class _Asker:
    """It is an `Asker`."""

    asker: Asker
    names: TaskNames

    async def ask(self, method: str, params: Raw | None) -> Members:
        return self.names.answered(await self.asker.ask(method, self.names.asked(params)))

    def streamed(self) -> None:
        self.asker.streamed()

    def hung_up(self) -> None:
        self.asker.hung_up()


def _with_result(response: Members, result: Raw) -> Members:
    return {**response, "result": result}


def _exchanged(task: Members, exchange: _Exchange) -> Members:
    """The same with its id exchanged, if it has one."""
    known = jsonrpc.text(task.get(_ID))
    return task if known is None else {**task, _ID: jsonrpc.raw(exchange(known))}


def _related(raw: Raw, exchange: _Exchange) -> Raw:
    """The same with the id of the task that it belongs to exchanged; as it is if it names none."""
    if _RELATED_HINT not in bytes(raw):
        return raw
    try:
        whole = jsonrpc.members(raw)
        meta = jsonrpc.members(whole.get("_meta"))
        task = jsonrpc.members(meta.get(RELATED))
    except ProtocolError:
        return raw
    if _ID not in task:
        return raw
    meta[RELATED] = jsonrpc.raw(_exchanged(task, exchange))
    return jsonrpc.raw({**whole, "_meta": meta})
