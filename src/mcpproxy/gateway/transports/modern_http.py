"""Streamable HTTP towards an upstream of the stateless era (2026-07-28).

Each request is a POST of its own, answered in JSON or by a stream that carries what precedes the
response. Law: a stream that breaks is not resumed; giving an exchange up closes its stream, which
is how the server is told.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.failures import Broken, NotMcp
from mcpproxy.gateway.link import Inbox, Site
from mcpproxy.gateway.transports.answer import Answer, refusal, unexpected
from mcpproxy.gateway.transports.web import EVENT_STREAM, JSON, Caller
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Kind, Members
from mcpproxy.gateway.wire.sse import EventParser

# How long a server may keep an answered stream open before we take the connection away from it.
_LINGER_SECONDS: Final = 2.0


class ModernHttpLink:
    """One stateless server. Nothing is open between two exchanges."""

    closing_cancels = True

    def __init__(self, site: Site, inbox: Inbox) -> None:
        self._caller = Caller(site.upstream.url or "", site.bearer, site.web)
        self._inbox = inbox
        self._limits = site.limits
        self._log = site.log
        self._headers = {
            "Accept": f"{JSON}, {EVENT_STREAM}",
            "Content-Type": JSON,
            "MCP-Protocol-Version": eras.LATEST_MODERN,
        }

    async def exchange(
        self, request_id: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Members:
        sent = self._headers if headers is None else {**self._headers, **headers}
        response = await self._caller.call("POST", self._caller.url, sent, body)
        try:
            return await self._response(response, request_id)
        except BaseException:
            response.close()
            raise

    async def send(self, body: bytes) -> None:
        """There is nothing to say outside of a request."""

    async def close(self) -> None:
        """Nothing is open."""

    async def _response(self, response: Answer, request_id: int) -> Members:
        if response.status >= 300:
            return await self._refused(response, request_id)
        if response.content_type == JSON:
            said = self._own(await response.read(self._limits.max_message), request_id)
        elif response.content_type == EVENT_STREAM:
            said = await self._from_stream(response, request_id)
        else:
            raise unexpected(response, "JSON")
        # Within 2xx an id null is a slip, and no refusal of what could not be read.
        return {**said, "id": jsonrpc.raw(request_id)}

    async def _refused(self, response: Answer, request_id: int) -> Members:
        """A JSON-RPC error in the body is the response, unless the status is about the way, or its
        id is not ours: so older servers refuse what they know nothing of.
        """
        said: list[Members] = []
        if response.content_type == JSON:
            with contextlib.suppress(ProtocolError):
                said = jsonrpc.parse(await response.read(self._limits.max_message))
        response.close()
        first = said[0] if said else {}
        error = jsonrpc.error_of(first)
        meaning = refusal(response, error.message if error else "")
        if not isinstance(meaning, NotMcp):
            raise meaning
        if error is None or not _answers(first, request_id):
            meaning.error = error
            raise meaning
        return first

    def _own(self, body: bytes, request_id: int) -> Members:
        for message in jsonrpc.parse(body):
            if _answers(message, request_id):
                return message
        raise ProtocolError("the answer does not belong to the request")

    async def _from_stream(self, response: Answer, request_id: int) -> Members:
        parser = EventParser(self._limits.max_message)
        while chunk := await response.piece():
            for event in parser.feed(chunk):
                for message in self._messages(event.data):
                    if _answers(message, request_id):
                        self._linger(response)
                        return message
                    self._inbox.received(message, request_id)
        raise Broken("the answer's stream ended without an answer")

    def _messages(self, data: bytes) -> list[Members]:
        try:
            return jsonrpc.parse(data) if data else []
        except ProtocolError as error:
            if b'"method"' not in data:
                raise
            self._log(f"ignored an event: {error.message}")
            return []

    def _linger(self, response: Answer) -> None:
        """Let the stream end by itself, so that its connection can be used again."""
        if response.is_open:
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, response.close)


def _answers(message: Members, request_id: int) -> bool:
    if jsonrpc.kind(message) is not Kind.RESPONSE:
        return False
    # An error about a message that could not be read has the id null.
    found = message.get("id")
    return jsonrpc.number(found) == request_id or (jsonrpc.is_null(found) and "error" in message)


async def open_modern_http(site: Site, inbox: Inbox) -> ModernHttpLink:
    """Nothing is sent before a request, so nothing can fail yet but the URL."""
    return ModernHttpLink(site, inbox)
