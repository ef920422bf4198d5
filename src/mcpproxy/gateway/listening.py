"""What an upstream of the stateless era says by itself: one `subscriptions/listen` held open.

Law: a stream is known to be there once it was acknowledged. One that has to hear of more is opened
beside the old one, so that nothing falls between them; after a gap everything may have changed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.failures import NotMcp, NotSent
from mcpproxy.gateway.limits import GatewayLimits, reconnect_delay
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Members

LISTEN: Final = "subscriptions/listen"
UPDATED: Final = "notifications/resources/updated"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
# By the capability that declares it: the wish, and what is heard then.
_LISTS: Final = {
    "tools": ("toolsListChanged", "notifications/tools/list_changed"),
    "prompts": ("promptsListChanged", "notifications/prompts/list_changed"),
    "resources": ("resourcesListChanged", "notifications/resources/list_changed"),
}
_URIS: Final = "resourceSubscriptions"
# A server that says this has nothing to listen to, now or later.
_FINAL: Final = (jsonrpc.METHOD_NOT_FOUND, jsonrpc.INVALID_REQUEST, jsonrpc.INVALID_PARAMS)

Exchange = Callable[[int, Members], Awaitable[Members]]
"""Sends `subscriptions/listen` under this id with these params; its response ends the stream."""


@dataclass(frozen=True, slots=True)
class Ear:
    """Who hears of a notification, of a server that is gone, of trouble. All return at once."""

    heard: Callable[[str, Members], None]
    lost: Callable[[Exception], None]
    log: Callable[[str], None]


@dataclass(slots=True, eq=False)
class _Stream:
    """One stream, and what it was opened for."""

    id: int
    uris: frozenset[str]
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    honored: frozenset[str] = frozenset()


class Listening:
    """The streams of one session: one, or two while the second takes over."""

    def __init__(
        self,
        exchange: Exchange,
        next_id: Callable[[], int],
        ear: Ear,
        limits: GatewayLimits,
    ) -> None:
        self._exchange = exchange
        self._next_id = next_id
        self._ear = ear
        self._limits = limits
        self._lists: tuple[str, ...] = ()
        self._uris: set[str] = set()
        self._streams: dict[int, _Stream] = {}
        self._open: dict[asyncio.Task[None], _Stream] = {}
        self._changed = asyncio.Event()
        self._settled: asyncio.Future[frozenset[str]] | None = None
        self._keeper: asyncio.Task[None] | None = None

    def begin(self, agreed: Agreed) -> None:
        """Hear of the lists whose changes this server tells."""
        self._lists = tuple(name for name in _LISTS if _tells(agreed, name))
        if self._lists:
            self._keeper = asyncio.create_task(self._keep())

    async def want(self, uris: frozenset[str]) -> frozenset[str]:
        """Hear of these resources from now on; which of them the server tells us of."""
        self._uris = set(uris)
        if self._settled is None or self._settled.done():
            self._settled = asyncio.get_running_loop().create_future()
        settled = self._settled
        self._changed.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        async with asyncio.timeout(self._limits.tcp_timeout.total_seconds()):
            return await asyncio.shield(settled)

    def belongs(self, message: Members, during: int | None) -> int | None:
        """The stream that a message came on: as the link says, or the message itself."""
        if during is None:
            with contextlib.suppress(ProtocolError):
                during = jsonrpc.number(_meta(message).get(eras.META_SUBSCRIPTION))
        return during if during in self._streams else None

    def received(self, stream_id: int, method: str, message: Members) -> None:
        stream = self._streams[stream_id]
        if method == _ACKNOWLEDGED:
            stream.honored = _honored(message)
            stream.acknowledged.set()
        else:
            self._ear.heard(method, _untagged(message))

    async def close(self) -> None:
        tasks = [task for task in (self._keeper, *self._open) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- the streams ----------------------------------------------------------------------

    async def _keep(self) -> None:
        """For as long as there is anything to hear of."""
        failures, gap, clock = 0, False, asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            begun = clock()
            old = list(self._open)
            task, stream = self._begin()
            await _first(task, stream.acknowledged, self._limits.tcp_timeout.total_seconds())
            for other in old:
                other.cancel()
            if stream.acknowledged.is_set() or not task.done():
                self._settle(stream.honored)
                if gap:
                    self._missed()
                gap = False
                await _first(task, self._changed, None)
            if self._changed.is_set() and (self._lists or self._uris):
                continue
            if not task.done() or _is_final(task):
                task.cancel()
                self._settle(frozenset())
                return
            gap = True
            settled = clock() - begun >= self._limits.stream_settled_after.total_seconds()
            failures = 1 if settled else failures + 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(reconnect_delay(failures, self._limits).total_seconds()):
                    await self._changed.wait()

    def _begin(self) -> tuple[asyncio.Task[None], _Stream]:
        stream = _Stream(self._next_id(), frozenset(self._uris))
        self._streams[stream.id] = stream
        task = asyncio.create_task(self._hold(stream))
        self._open[task] = stream
        task.add_done_callback(lambda done: self._ended(done, stream))
        return task, stream

    def _ended(self, task: asyncio.Task[None], stream: _Stream) -> None:
        self._streams.pop(stream.id, None)
        self._open.pop(task, None)
        if not task.cancelled():
            task.exception()  # it has been told; who opened the stream may be past it

    async def _hold(self, stream: _Stream) -> None:
        wishes: dict[str, object] = {_LISTS[name][0]: True for name in self._lists}
        if stream.uris:
            wishes[_URIS] = sorted(stream.uris)
        try:
            response = await self._exchange(stream.id, {"notifications": jsonrpc.raw(wishes)})
        except (NotSent, NotMcp) as failure:
            if isinstance(failure, NotSent):
                self._ear.lost(failure)
            raise
        except McpproxyError as error:
            self._ear.log(f"notification stream: {error.message}")
            return
        refused = jsonrpc.error_of(response)
        if refused is not None:
            self._ear.log(f"notification stream: {refused.message} ({refused.code})")
            if refused.code in _FINAL:
                raise ProtocolError(refused.message)

    def _settle(self, honored: frozenset[str]) -> None:
        if self._settled is not None and not self._settled.done() and not self._changed.is_set():
            self._settled.set_result(honored)

    def _missed(self) -> None:
        """Nothing is replayed: whatever we listen for may have changed meanwhile."""
        for name in self._lists:
            method = _LISTS[name][1]
            self._ear.heard(method, jsonrpc.parse(jsonrpc.notification(method))[0])
        for uri in sorted(self._uris):
            said = jsonrpc.notification(UPDATED, jsonrpc.raw({"uri": uri}))
            self._ear.heard(UPDATED, jsonrpc.parse(said)[0])


async def _first(task: asyncio.Task[None], event: asyncio.Event, seconds: float | None) -> None:
    """Until the task is done, the event is set or the time is up; the task goes on."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((task, waiting), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _is_final(task: asyncio.Task[None]) -> bool:
    """Whether the server refuses to be listened to, or is not there any more at all."""
    return not task.cancelled() and task.exception() is not None


def _tells(agreed: Agreed, capability: str) -> bool:
    declared = agreed.capabilities.get(capability)
    return bytes(jsonrpc.members(declared).get("listChanged", b"")) == b"true"


def _meta(message: Members) -> Members:
    return jsonrpc.members(jsonrpc.members(message.get("params")).get("_meta"))


def _honored(message: Members) -> frozenset[str]:
    """The resources that an acknowledgement names."""
    try:
        told = jsonrpc.members(jsonrpc.members(message.get("params")).get("notifications"))
        return frozenset(msgspec.json.decode(told.get(_URIS) or b"[]", type=list[str]))
    except (msgspec.DecodeError, ProtocolError):
        return frozenset()


def _untagged(message: Members) -> Members:
    """The notification without the number of our stream."""
    try:
        params = jsonrpc.members(message.get("params"))
        meta = jsonrpc.members(params.get("_meta"))
    except ProtocolError:
        return message
    if meta.pop(eras.META_SUBSCRIPTION, None) is None:
        return message
    params["_meta"] = jsonrpc.raw(meta)
    if not meta:
        del params["_meta"]
    return {**message, "params": jsonrpc.raw(params)}
