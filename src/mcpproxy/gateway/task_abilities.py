"""What a server does with tasks, as it declares it, in either generation of them.

Law: the tasks of 2025-11-25 and the extension of 2026-07-28 have nothing but their name in common;
a client is offered those of its own era, and nothing is translated between them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

EXTENSION: Final = "io.modelcontextprotocol/tasks"


@dataclass(frozen=True, slots=True)
class TaskAbilities:
    """`calls`, `lists` and `cancels` are of 2025-11-25: whether tools/call makes tasks, and what
    else is there besides asking for one. `extension` is that of 2026-07-28.
    """

    legacy: bool = False
    calls: bool = False
    lists: bool = False
    cancels: bool = False
    extension: bool = False

    def for_era(self, era: Era) -> bool:
        """Whether clients of this era have any tasks there."""
        return self.legacy if era is Era.LEGACY else self.extension

    def may_begin(self, client: Client | None, params: Members) -> bool:
        """Whether a call with these params may be answered with a task there."""
        if client is None:
            return False
        if client.era is Era.LEGACY:
            return self.calls and "task" in params
        return self.extension and knows_extension(client)

    def also(self, other: "TaskAbilities") -> "TaskAbilities":
        """What either of them does."""
        return TaskAbilities(
            self.legacy or other.legacy,
            self.calls or other.calls,
            self.lists or other.lists,
            self.cancels or other.cancels,
            self.extension or other.extension,
        )

    def declared(self, era: Era) -> dict[str, object]:
        """The capabilities that a server of this era declares with these."""
        if not self.for_era(era):
            return {}
        if era is Era.MODERN:
            return {"extensions": {EXTENSION: {}}}
        tasks: dict[str, object] = {}
        if self.lists:
            tasks["list"] = {}
        if self.cancels:
            tasks["cancel"] = {}
        if self.calls:
            tasks["requests"] = {"tools": {"call": {}}}
        return {"tasks": tasks}


NO_TASKS: Final = TaskAbilities()
ANY_TASKS: Final = TaskAbilities(legacy=True, calls=True, lists=True, cancels=True, extension=True)
"""Of a server that has not said yet what it has."""


def task_abilities(agreed: Agreed | None) -> TaskAbilities:
    """What this server has declared; nothing while it has said nothing."""
    if agreed is None:
        return NO_TASKS
    declared = bytes(agreed.result.get("capabilities", b""))
    return _extended(declared) if agreed.version in eras.MODERN_VERSIONS else _tasked(declared)


def together(servers: Iterable[Agreed | None]) -> TaskAbilities:
    """What they do between them; of one that has not said yet, whatever there is."""
    found = NO_TASKS
    for agreed in servers:
        found = found.also(ANY_TASKS if agreed is None else task_abilities(agreed))
    return found


@lru_cache(maxsize=256)
def _extended(capabilities: bytes) -> TaskAbilities:
    """What cannot be read is not there."""
    try:
        declared = jsonrpc.members(capabilities)
        return TaskAbilities(extension=EXTENSION in jsonrpc.members(declared.get("extensions")))
    except ProtocolError:
        return NO_TASKS


@lru_cache(maxsize=256)
def _tasked(capabilities: bytes) -> TaskAbilities:
    try:
        declared = jsonrpc.members(capabilities)
        tasks = jsonrpc.members(declared.get("tasks"))
        requests = jsonrpc.members(tasks.get("requests"))
        calls = "call" in jsonrpc.members(requests.get("tools"))
    except ProtocolError:
        return NO_TASKS
    if "tasks" not in declared:
        return NO_TASKS
    return TaskAbilities(True, calls, "list" in tasks, "cancel" in tasks)


def knows_extension(client: Client) -> bool:
    """Whether this request of a stateless client declares the extension."""
    declared = client.capabilities.get("extensions")
    if client.era is not Era.MODERN or declared is None:
        return False
    try:
        return EXTENSION in jsonrpc.members(declared)
    except ProtocolError:
        return False
