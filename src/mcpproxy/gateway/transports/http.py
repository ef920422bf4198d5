"""Streamable HTTP towards an upstream (2025-03-26 and later, "Streamable HTTP").

Each message is a POST; an answer is JSON or an event stream; a GET stream carries what the
server says by itself, where it offers one. A stream that breaks is resumed by its last event id.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Final

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.failures import Broken, LinkFailed, NotMcp, NotSent, SessionForgotten
from mcpproxy.gateway.limits import reconnect_delay
from mcpproxy.gateway.link import Inbox, Link, Site
from mcpproxy.gateway.transports.answer import Answer, refusal, unexpected
from mcpproxy.gateway.transports.web import EVENT_STREAM, JSON, Caller
from mcpproxy.gateway.wire import jsonrpc, mend
from mcpproxy.gateway.wire.handshake import Agreed
from mcpproxy.gateway.wire.jsonrpc import Kind, Members
from mcpproxy.gateway.wire.sse import EventParser

_METHOD: Final = "Mcp-Method"
_PING: Final = jsonrpc.request(0, "ping")
# How long a server may keep an answered stream open before we take the connection away from it.
_LINGER_SECONDS: Final = 2.0


class HttpLink:
    """One session with a Streamable HTTP server."""

    def __init__(self, site: Site, inbox: Inbox) -> None:
        self._caller = Caller(site.upstream.url or "", site.bearer, site.web)
        self._inbox = inbox
        self._limits = site.limits
        self._log = site.log
        self._session_id: str | None = None
        self._session_headers: dict[str, str] = {}
        self._post_headers = {
            "Accept": f"{JSON}, {EVENT_STREAM}",
            "Content-Type": JSON,
            _METHOD: "initialize",  # servers of the stateless era want to see what they refuse
        }
        self._listener: asyncio.Task[None] | None = None
        self._asking_again: asyncio.TimerHandle | None = None
        self._asked_again_at = -math.inf

    async def exchange(self, request_id: int, body: bytes) -> Members:
        try:
            response = await self._post(body)
            if response.status >= 300:
                return await self._refused(response, request_id)
            if response.content_type == JSON:
                return self._own(await response.read(self._limits.max_message), request_id)
            if response.content_type == EVENT_STREAM:
                return await self._from_stream(response, request_id)
        except NotSent as failure:
            self._inbox.lost(failure)
            raise
        response.close()
        raise unexpected(response, "JSON")

    async def send(self, body: bytes) -> None:
        response = await self._post(body)
        try:
            if response.status >= 300:
                raise self._meaning(response)
        finally:
            response.close()

    def agreed(self, agreed: Agreed) -> None:
        self._session_headers["MCP-Protocol-Version"] = agreed.version
        if self._session_id is not None:
            self._session_headers["Mcp-Session-Id"] = self._session_id
        self._post_headers.pop(_METHOD, None)
        self._post_headers.update(self._session_headers)
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        if self._asking_again is not None:
            self._asking_again.cancel()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        if self._session_id is not None:
            with contextlib.suppress(McpproxyError, TimeoutError):
                async with asyncio.timeout(self._limits.goodbye.total_seconds()):
                    response = await self._caller.call(
                        "DELETE", self._caller.url, self._session_headers
                    )
                    response.close()

    async def _post(self, body: bytes) -> Answer:
        response = await self._caller.call("POST", self._caller.url, self._post_headers, body)
        if self._session_id is None and response.status < 300:
            session_id = response.header("mcp-session-id")
            if not (session_id.isascii() and session_id.isprintable()):
                response.close()
                raise NotMcp("the server gave an Mcp-Session-Id that no header may hold")
            self._session_id = session_id or None
        return response

    def _meaning(self, response: Answer, detail: str = "") -> LinkFailed:
        if response.status == 404 and self._session_headers.get("Mcp-Session-Id"):
            return SessionForgotten("the server has forgotten the session")
        return refusal(response, detail)

    async def _refused(self, response: Answer, request_id: int) -> Members:
        """A JSON-RPC error in the body is the response; anything else is the link's failure."""
        said: Members = {}
        if response.content_type == JSON:
            with contextlib.suppress(ProtocolError):
                said = self._own(await response.read(self._limits.max_message), request_id)
        response.close()
        error = jsonrpc.error_of(said)
        failure = self._meaning(response, error.message if error else "")
        if response.status == 400 and not await self._session_lives():
            # Many servers answer 400, not 404, to a session that they have forgotten.
            raise SessionForgotten("the server has forgotten the session")
        if error is None or not isinstance(failure, NotMcp):
            raise failure
        if not self._session_headers:
            failure.error = error
            raise failure
        return said

    async def _session_lives(self) -> bool:
        """Whether the server still takes a ping in this session, after a refusal."""
        if not self._session_headers.get("Mcp-Session-Id"):
            return True
        response = await self._post(_PING)
        response.close()
        return response.status not in (400, 404)

    def _own(self, body: bytes, request_id: int) -> Members:
        """The response among the messages of a body; the others go to the inbox."""
        own: Members | None = None
        for message in jsonrpc.parse(body):
            if jsonrpc.kind(message) is not Kind.RESPONSE:
                self._inbox.received(message, request_id)
            elif own is None and self._answers(message, request_id):
                own = message
        if own is None:
            raise ProtocolError("the answer does not belong to the request")
        return own

    def _answers(self, message: Members, request_id: int) -> bool:
        # An error about a message that could not be read has the id null.
        found = message.get("id")
        return jsonrpc.number(found) == request_id or (
            jsonrpc.is_null(found) and "error" in message
        )

    async def _from_stream(self, response: Answer, request_id: int) -> Members:
        """The response from an event stream, resumed as often as the server lets it end."""
        parser = EventParser(self._limits.max_message)
        while True:
            broken: Broken | None = None
            try:
                own = await self._read(response, parser, request_id)
            except Broken as failure:
                own, broken = None, failure
            if own is not None:
                self._linger(response)
                return own
            response.close()
            if parser.last_id is None:
                raise broken or Broken("the answer's stream ended without an answer")
            if broken is None:
                self._inbox.hung_up(request_id)
            await asyncio.sleep((parser.retry_ms or 1000) / 1000)
            response = await self._resume(parser)
            last_id, parser = parser.last_id, EventParser(self._limits.max_message)
            parser.last_id = last_id

    async def _resume(self, parser: EventParser) -> Answer:
        headers = {"Accept": EVENT_STREAM, **self._session_headers}
        if parser.last_id is not None:
            headers["Last-Event-ID"] = parser.last_id
        response = await self._caller.call("GET", self._caller.url, headers)
        if response.status != 200 or response.content_type != EVENT_STREAM:
            response.close()
            raise Broken("the answer's stream ended and cannot be resumed")
        return response

    async def _read(
        self, response: Answer, parser: EventParser, request_id: int | None
    ) -> Members | None:
        """Events to the inbox until the response to `request_id` comes or the stream ends."""
        try:
            while chunk := await response.piece():
                for event in parser.feed(chunk):
                    if request_id is not None and not event.data and parser.last_id:
                        self._inbox.streamed(request_id)
                    for message in self._messages(event.data, request_id):
                        if jsonrpc.kind(message) is not Kind.RESPONSE:
                            self._inbox.received(message, request_id)
                        elif request_id is not None and self._answers(message, request_id):
                            return message
        except ProtocolError:
            response.close()
            raise
        return None

    def _messages(self, data: bytes, request_id: int | None) -> list[Members]:
        if not data:
            return []  # a first event may carry an id to resume by, and nothing else
        try:
            return jsonrpc.parse(data)
        except ProtocolError as error:
            if request_id in mend.ids_in(data):
                raise
            self._log(f"ignored an event: {error.message}")
            return []

    def _linger(self, response: Answer) -> None:
        """Let the stream end by itself, so that its connection can be used again."""
        if response.is_open:
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, response.close)

    async def _listen(self) -> None:
        """Hold the GET stream open for as long as the session lives, if there is one."""
        parser, clock = EventParser(self._limits.max_message), asyncio.get_running_loop().time
        opened = failures = 0
        while True:
            begun = math.inf
            try:
                headers = {"Accept": EVENT_STREAM, **self._session_headers}
                if parser.last_id is not None:
                    headers["Last-Event-ID"] = parser.last_id
                response = await self._caller.call("GET", self._caller.url, headers)
                if response.status == 200 and response.content_type == EVENT_STREAM:
                    if opened:
                        self._ask_again()
                    opened, begun = opened + 1, clock()
                    await self._read(response, parser, None)
                    response.close()
                else:
                    response.close()
                    if not opened and response.status < 500 and response.status not in (409, 429):
                        return
                    if response.status == 404:
                        self._inbox.lost(SessionForgotten("the server has forgotten the session"))
                        return
            except NotSent as failure:
                self._inbox.lost(failure)
                return
            except McpproxyError as error:
                self._log(f"notification stream: {error.message}")
            settled = clock() - begun >= self._limits.stream_settled_after.total_seconds()
            failures = 1 if settled else failures + 1
            delay = reconnect_delay(failures, self._limits).total_seconds()
            wished = min((parser.retry_ms or 0) / 1000, self._limits.reconnect_cap.total_seconds())
            await asyncio.sleep(max(delay, wished))
            last_id, parser = parser.last_id, EventParser(self._limits.max_message)
            parser.last_id = last_id

    def _ask_again(self) -> None:
        """What was said between two streams is lost unless it is replayed: ask for the tools."""
        if self._asking_again is None:
            due = self._asked_again_at + self._limits.relist_reopened_every.total_seconds()
            loop = asyncio.get_running_loop()
            self._asking_again = loop.call_at(max(due, loop.time()), self._asked_again)

    def _asked_again(self) -> None:
        self._asking_again, self._asked_again_at = None, asyncio.get_running_loop().time()
        self._inbox.received(_TOOLS_CHANGED, None)


_TOOLS_CHANGED: Final = jsonrpc.parse(jsonrpc.notification("notifications/tools/list_changed"))[0]


async def open_http(site: Site, inbox: Inbox) -> Link:
    """Nothing is sent before the handshake, so nothing can fail yet but the URL."""
    return HttpLink(site, inbox)
