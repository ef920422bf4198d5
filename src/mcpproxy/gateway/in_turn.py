"""One request at an upstream: in its turn, within its time, and told of when it is over.

Law: who called what, and what came of it, is told once of every request that makes an upstream
work for a client, also of one that found no place or no permission.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.activity import MAX_ARGUMENTS
from mcpproxy.core.errors import Overloaded, ProtocolError
from mcpproxy.core.notices import Called, ItemAsked, ToolCalled
from mcpproxy.core.ports import Clock, Publisher
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.offers import READER_OF
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.shares import Holder
from mcpproxy.gateway.task_owners import METHODS
from mcpproxy.gateway.text import short
from mcpproxy.gateway.turns import Gate, Gates
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_TOOLS_CALL: Final = "tools/call"
_IS_ERROR: Final = "isError"
_CLIENT_LENGTH: Final = 80
# A client that says more of itself is named anew each time: what is remembered stays small.
_LONGEST_REMEMBERED: Final = 1024
# What a request says beside its subject, where that is not in `arguments`.
_ARGUMENTS: Final = {"resources/read": "uri", "completion/complete": "argument"}
_ITEMS: Final = frozenset({"resources/read", "prompts/get", "completion/complete"})
# Lists, and what is about a call that had its turn: one of these may be what lets it end.
_FREE: Final = frozenset({"tools/list", *READER_OF, *METHODS})


Check = Callable[[Caller, str, str], None]
"""Of whom, which server, which tool or item: raises an McpproxyError when it is not there for this
caller any more.
"""


class _ClientInfo(msgspec.Struct):
    name: str = ""
    version: str = ""


class InTurn:
    """Carries requests out, and tells of them."""

    def __init__(self, gates: Gates, clock: Clock, publisher: Publisher) -> None:
        self._gates = gates
        self._clock = clock
        self._publisher = publisher

    def call(
        self,
        live: LiveUpstream,
        tool: str,
        ask: Ask,
        params: Members,
        timeout: timedelta | None,
        check: Check,
    ) -> Awaitable[Members]:
        """The response to a call of this tool. It is looked at again after a wait. Raises as
        `check` does then, Overloaded, and as LiveUpstream.request.
        """
        gate = self._gates.of(live.name)
        call = Call(_TOOLS_CALL, params, ask.sink, ask.client, ask.caller.name, gate)
        limit = timeout or self._gates.timeout(live.name, tool)
        return self._carried(gate, live, tool, ask, call, limit, check)

    async def request(
        self,
        live: LiveUpstream,
        ask: Ask,
        params: Members,
        timeout: timedelta | None = None,
        check: Check | None = None,
    ) -> Members:
        """The response to anything else. What lists, and what is about a task, costs no turn and
        is not told of. Raises as `call`.
        """
        call = Call(ask.method, params or None, ask.sink, ask.client, ask.caller.name)
        limit = timeout or self._gates.timeout(live.name)
        if ask.method in _FREE:
            return await live.request(call, limit)
        gate, item = self._gates.of(live.name), item_of(ask.method, params)
        return await self._carried(gate, live, item, ask, call, limit, check)

    async def _carried(
        self,
        gate: Gate,
        live: LiveUpstream,
        what: str,
        ask: Ask,
        call: Call,
        limit: timedelta | None,
        check: Check | None = None,
    ) -> Members:
        begun = self._clock.elapsed()
        outcome, size = "unavailable", 0
        try:
            leave, waits = gate.leave, False
            if not gate.enter_now():
                if call.method != _TOOLS_CALL and gate.borrow():
                    leave = gate.give_back
                else:
                    await gate.enter(holder_of(ask))
                    waits = True
            try:
                if waits and check is not None:
                    outcome = "denied"
                    check(ask.caller, live.name, what)
                outcome = "unavailable"
                response = await live.request(call, limit)
            finally:
                leave()
            outcome = "error" if _failed(call.method, response) else "ok"
            size = len(response.get("result", b""))
            return response
        except Overloaded:
            outcome = "overloaded"
            raise
        finally:
            self._told(ask, (live.name, what, outcome), begun, call.params or {}, size)

    def denied(self, ask: Ask, server: str, what: str) -> None:
        """What is not there for this caller was asked for. `server` is empty where the name does
        not lead to one.
        """
        now = self._clock.elapsed()
        self._told(ask, (server, short(what), "denied"), now, ask.params, 0)

    def denied_item(self, ask: Ask, server: str = "") -> None:
        """As `denied`, of what is no tool."""
        if ask.method in _ITEMS:
            self.denied(ask, server, item_of(ask.method, ask.params))

    def _told(
        self, ask: Ask, what: tuple[str, str, str], begun: timedelta, params: Members, size: int
    ) -> None:
        """`what` is server, tool or item, and outcome; `size` is the result's."""
        server, name, outcome = what
        duration = self._clock.elapsed() - begun
        arguments = params.get(_ARGUMENTS.get(ask.method, "arguments"), b"")
        kept = _kept(arguments) if self._gates.keeps_arguments else None
        caller, client, http_id = ask.caller.name, _program(ask.client), ask.request_id
        told: Called
        if ask.method == _TOOLS_CALL:
            told = ToolCalled(
                server, name, outcome, duration, caller, client, http_id, len(arguments), size, kept
            )
        else:
            told = ItemAsked(
                server, name, outcome, duration, short(ask.method),
                caller, client, http_id, len(arguments), size, kept,
            )  # fmt: skip
        self._publisher.publish(told)


def item_of(method: str, params: Members) -> str:
    """What a request is about, as the log of activity names it. A URI without its end: what
    follows a `?` is what is said to a resource, and may be anything.
    """
    is_resource = method == "resources/read"
    if method == "completion/complete":
        try:
            params = jsonrpc.members(params.get("ref"))
        except ProtocolError:
            return ""
        is_resource = jsonrpc.text(params.get("type")) == "ref/resource"
    name = None if is_resource else jsonrpc.text(params.get("name"))
    return short(_address(jsonrpc.text(params.get("uri")) or "") if name is None else name)


def _address(uri: str) -> str:
    """Without query, fragment and whoever stands before an `@`."""
    head = uri.partition("?")[0].partition("#")[0]
    scheme, mark, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def holder_of(ask: Ask) -> Holder:
    """A client of the stateless era has no session: its requests are its caller's."""
    client = ask.client
    session = client.key if client is not None and client.era is Era.LEGACY else ""
    return Holder(ask.caller.name, session)


def _kept(arguments: Raw | bytes) -> bytes:
    return memoryview(arguments)[:MAX_ARGUMENTS].tobytes()


def _program(client: Client | None) -> str:
    """How the program behind a call calls itself. Without a client it is ours."""
    if client is None:
        return "REST"
    if client.info is None:
        return ""
    said = bytes(client.info)
    return _named(said) if len(said) <= _LONGEST_REMEMBERED else _named.__wrapped__(said)


@lru_cache(maxsize=1024)
def _named(info: bytes) -> str:
    """Name and version, if there are any."""
    try:
        said = msgspec.json.decode(info, type=_ClientInfo)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return short(f"{said.name} {said.version}", _CLIENT_LENGTH)


def _failed(method: str, response: Members) -> bool:
    """Whether an answer is an error, a tool's own too. The whole result of a tool is read only if
    it may be one.
    """
    result = response.get("result")
    if result is None:
        return True
    if method != _TOOLS_CALL or b'"isError"' not in bytes(result):
        return False
    return bytes(jsonrpc.members(result).get(_IS_ERROR, b"")) == b"true"
