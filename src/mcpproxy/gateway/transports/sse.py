"""HTTP+SSE towards an upstream, the remote transport of 2024-11-05.

A GET stream carries everything the server says; its first event names the URL for our POSTs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from yarl import URL

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.failures import Broken, LinkFailed, NotMcp
from mcpproxy.gateway.link import Inbox, Link, Site
from mcpproxy.gateway.text import short
from mcpproxy.gateway.transports.answer import Answer, refusal, unexpected
from mcpproxy.gateway.transports.web import EVENT_STREAM, JSON, Caller
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Kind
from mcpproxy.gateway.wire.pending import Pending
from mcpproxy.gateway.wire.sse import Event, EventParser


class SseLink:
    """One event stream and the URL that messages are posted to."""

    def __init__(self, site: Site, inbox: Inbox, caller: Caller) -> None:
        self._caller = caller
        self._inbox = inbox
        self._limits = site.limits
        self._log = site.log
        self._pending = Pending()
        self._headers = {"Content-Type": JSON}
        self._reader: asyncio.Task[None] | None = None
        self._endpoint = caller.url

    async def open(self) -> None:
        """Open the stream and learn the endpoint. Raises LinkFailed."""
        response = await self._caller.call("GET", self._caller.url, {"Accept": EVENT_STREAM})
        if response.status != 200:
            response.close()
            raise refusal(response)
        if response.content_type != EVENT_STREAM:
            response.close()
            raise unexpected(response, "an event stream")
        events = self._events(response)
        try:
            async for event in events:
                if event.event == "endpoint":
                    self._endpoint = self._same_origin(event.data)
                    self._reader = asyncio.create_task(self._read(response, events))
                    return
        finally:
            if self._reader is None:
                response.close()
        raise NotMcp("the event stream ended before it named an endpoint")

    async def exchange(self, request_id: int, body: bytes) -> jsonrpc.Members:
        future = self._pending.expect(request_id)
        try:
            await self.send(body)
            return await future
        finally:
            future.cancel()

    async def send(self, body: bytes) -> None:
        response = await self._caller.call("POST", self._endpoint, self._headers, body)
        response.close()
        if response.status >= 300:
            raise refusal(response)

    def agreed(self, agreed: Agreed) -> None:
        self._headers["MCP-Protocol-Version"] = agreed.version

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        self._pending.fail(Broken("the connection was closed"))

    def _same_origin(self, data: bytes) -> URL:
        """The endpoint. On another origin it would get messages, and a token, not meant for it."""
        try:
            endpoint = self._caller.url.join(URL(data.decode()))
        except ValueError as error:
            raise NotMcp("the endpoint event holds no URL") from error
        if endpoint.origin() != self._caller.url.origin():
            raise NotMcp(f"the endpoint is on another origin: {short(str(endpoint))}")
        return endpoint

    async def _events(self, response: Answer) -> AsyncGenerator[Event]:
        parser = EventParser(self._limits.max_message)
        while chunk := await response.piece():
            for event in parser.feed(chunk):
                yield event

    async def _read(self, response: Answer, events: AsyncGenerator[Event]) -> None:
        failure: McpproxyError = Broken("the server ended the event stream")
        try:
            async for event in events:
                self._take(event)
        except (LinkFailed, ProtocolError) as error:
            failure = error
        finally:
            response.close()
            await events.aclose()
        lost = failure if isinstance(failure, LinkFailed) else Broken(failure.message)
        self._pending.fail(lost)
        self._inbox.lost(lost)

    def _take(self, event: Event) -> None:
        if event.event != "message":
            return
        try:
            messages = jsonrpc.parse(event.data)
        except ProtocolError as error:
            self._pending.unreadable(event.data, error)
            self._log(f"ignored an event: {error.message}")
            return
        for message in messages:
            if jsonrpc.kind(message) is not Kind.RESPONSE:
                self._inbox.received(message, None)
            elif not self._pending.settle(message):
                self._inbox.received(message, None)
                self._log("ignored a response that nobody waits for")


async def open_sse(site: Site, inbox: Inbox) -> Link:
    link = SseLink(site, inbox, Caller(site.upstream.url or "", site.bearer, site.web))
    await link.open()
    return link
