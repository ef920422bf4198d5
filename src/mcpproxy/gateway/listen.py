"""`subscriptions/listen` (2026-07-28): a stream of what changes, as far as its client wants it.

Law: the acknowledgment comes first and says what is honoured; nothing else is ever sent. A client
that reads too slowly is sent away: it asks again and reads the lists anew. Where there is no room
the caller with the most streams loses its oldest, or gets no more.
"""

import asyncio
import secrets
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller
from mcpproxy.gateway.asgi import (
    Receive,
    Send,
    begin_stream,
    end_stream,
    respond,
    until_gone,
    write,
)
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.faces import Face
from mcpproxy.gateway.hub import Hub, News
from mcpproxy.gateway.limits import GatewayLimits
from mcpproxy.gateway.shares import Holder, Shares
from mcpproxy.gateway.wire import eras, jsonrpc, sse
from mcpproxy.gateway.wire.jsonrpc import Members

_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
_UPDATED: Final = "notifications/resources/updated"
_FLAG_OF: Final = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
_MAX_URIS: Final = 1000
_MAX_ID: Final = 256
MAX_BODY: Final = 256 * 1024
"""Bytes of a request that is kept open: all of them stay in memory as long as its stream."""
TOO_LONG: Final = "The request is too long to be kept open"


class _Wanted(msgspec.Struct):
    toolsListChanged: bool = False
    promptsListChanged: bool = False
    resourcesListChanged: bool = False
    resourceSubscriptions: list[str] = []


class Subscription:
    """One stream. It is a `Subscriber` of the hub."""

    def __init__(self, face: Face, caller: Caller, listen_id: Raw, limit: int) -> None:
        self.key = "l" + secrets.token_urlsafe(12)
        self.face = face
        self.caller = caller
        self.meta = jsonrpc.raw({eras.META_SUBSCRIPTION: listen_id})
        self.flags: frozenset[str] = frozenset()
        self.uris: set[str] = set()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(limit)

    def hear(self, news: News) -> None:
        if not self._wants(news):
            return
        try:
            params = jsonrpc.members(news.message.get("params"))
            meta = {**jsonrpc.members(params.get("_meta")), **jsonrpc.members(self.meta)}
        except ProtocolError:
            return
        told = {**news.message, "params": jsonrpc.raw({**params, "_meta": meta})}
        if self._queue.full():
            self.end()
        else:
            self._queue.put_nowait(jsonrpc.encode(told))

    def end(self) -> None:
        """The stream is over; what waits in it is not worth more than a fresh one."""
        while self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self, patience: float) -> bytes | None:
        """What to write next; None at the end."""
        try:
            async with asyncio.timeout(patience):
                body = await self._queue.get()
        except TimeoutError:
            return sse.KEEP_ALIVE
        return None if body is None else sse.event(body)

    def _wants(self, news: News) -> bool:
        flag = _FLAG_OF.get(news.method)
        if flag is not None:
            return flag in self.flags
        if news.method != _UPDATED:
            return False
        try:
            uri = jsonrpc.text(jsonrpc.members(news.message.get("params")).get("uri"))
        except ProtocolError:
            return False
        return news.to is not None or uri in self.uris


class Listens:
    """All open subscription streams."""

    def __init__(self, hub: Hub, limits: GatewayLimits) -> None:
        self._hub = hub
        self._limits = limits
        self._open: Shares[Subscription] = Shares()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    async def serve(
        self,
        face: Face,
        caller: Caller,
        listen_id: Raw,
        params: Members,
        send: Send,
        receive: Receive,
    ) -> None:
        """Until the client goes away, or we do."""
        if len(listen_id) > _MAX_ID:
            return await _refuse(send, listen_id, TOO_LONG)
        try:
            wanted = msgspec.json.decode(params.get("notifications", b"{}"), type=_Wanted)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return await _refuse(send, listen_id, f"params.notifications: {error}")
        opened = Subscription(face, caller, listen_id, self._limits.max_queued_notices)
        if self._closing or not self._found_room(opened):
            return await _refuse(send, listen_id, "Too many subscriptions are open")
        gone = asyncio.create_task(until_gone(receive))
        gone.add_done_callback(lambda _: opened.end())
        self._hub.add(opened)
        try:
            await self._honour(opened, wanted)
            await begin_stream(send)
            await write(send, sse.event(_acknowledgment(opened)))
            pause = self._limits.keep_alive.total_seconds()
            while (event := await opened.next(pause)) is not None:
                await write(send, event)
            result = jsonrpc.raw({"resultType": "complete", "_meta": opened.meta})
            await write(send, sse.event(jsonrpc.answered(jsonrpc.result(result), listen_id)))
            await end_stream(send)
        finally:
            gone.cancel()
            self._open.drop(Holder(caller.name), opened)
            self._hub.remove(opened)

    def close(self) -> None:
        """We are going: every stream ends as the protocol wants it."""
        self._closing = True
        for each in self._open:
            each.end()

    def _found_room(self, opened: Subscription) -> bool:
        holder = Holder(opened.caller.name)
        self._open.add(holder, opened)
        if len(self._open) > self._limits.max_listens:
            pays = self._open.most(holder)
            gone = opened if pays == holder else self._open.oldest(pays)
            self._open.drop(pays, gone)
            gone.end()
            return gone is not opened
        return True

    async def _honour(self, opened: Subscription, wanted: _Wanted) -> None:
        flags = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")
        opened.flags = frozenset(flag for flag in flags if getattr(wanted, flag))
        client = Client(Era.MODERN, opened.key, caller=opened.caller.name)
        for uri in dict.fromkeys(wanted.resourceSubscriptions[:_MAX_URIS]):
            params = {"uri": jsonrpc.raw(uri)}
            ask = Ask(opened.caller, "resources/subscribe", params, None, client)
            try:
                answer = await opened.face.answer(ask)
            except McpproxyError:
                continue
            if "result" in answer:
                opened.uris.add(uri)


def _acknowledgment(opened: Subscription) -> bytes:
    honoured: dict[str, object] = dict.fromkeys(sorted(opened.flags), True)
    if opened.uris:
        honoured["resourceSubscriptions"] = sorted(opened.uris)
    params = jsonrpc.raw({"_meta": opened.meta, "notifications": honoured})
    return jsonrpc.notification(_ACKNOWLEDGED, params)


async def _refuse(send: Send, listen_id: Raw, why: str) -> None:
    answer = jsonrpc.error(jsonrpc.INVALID_PARAMS, why)
    await respond(send, 400, jsonrpc.answered(answer, listen_id))
