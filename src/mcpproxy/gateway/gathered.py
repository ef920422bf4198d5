"""Resources and prompts of all upstreams as one list each, and what is asked of one of them.

Law: what a caller may not read does not exist for it. Only names and URIs of the aggregate are
exchanged for the server's own, and back; everything else passes as it is.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller, may_read
from mcpproxy.gateway.addressing import Addressing, Found, NotFound
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import Stock, exposed_head
from mcpproxy.gateway.dispatch import rpc_error
from mcpproxy.gateway.items import Item
from mcpproxy.gateway.mentions import Mentions
from mcpproxy.gateway.pages import Pages
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.session import Call
from mcpproxy.gateway.shelf import Shelf, Shown
from mcpproxy.gateway.subscriptions import Subscriptions, Wish
from mcpproxy.gateway.text import short
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_NO_COMPLETION: Final = b'{"completion":{"values":[],"total":0,"hasMore":false}}'
_decode_array: Final = msgspec.json.Decoder(list[Members]).decode


class Gathered:
    """Answers the methods of resources, prompts and completion for the aggregate."""

    def __init__(
        self, pool: Pool, stock: Stock, mentions: Mentions, subscriptions: Subscriptions
    ) -> None:
        self._pool = pool
        self._stock = stock
        self._mentions = mentions
        self._subscriptions = subscriptions
        self._addressing = Addressing(pool, stock, mentions)
        self._pages = {
            "resources": Pages("resources"),
            "resourceTemplates": Pages("resourceTemplates"),
            "prompts": Pages("prompts"),
        }

    # --- lists ------------------------------------------------------------------------------

    async def resources(self, ask: Ask) -> Members:
        return await self._list(ask, self._stock.resources, "resources")

    async def templates(self, ask: Ask) -> Members:
        return await self._list(ask, self._stock.templates, "resourceTemplates")

    async def prompts(self, ask: Ask) -> Members:
        return await self._list(ask, self._stock.prompts, "prompts")

    async def _list(self, ask: Ask, shelf: Shelf[Item, Shown], member: str) -> Members:
        await self._pool.offered()
        caller, pages = ask.caller, self._pages[member]
        if not pages.knows(caller, shelf.revision):
            pages.put(caller, (each.definition for each in shelf if self._exists(caller, each)))
        return pages.answer(caller, ask.params.get("cursor"))

    def _exists(self, caller: Caller, entry: Shown) -> bool:
        live = self._pool.find(entry.server)
        return live is not None and may_read(caller, live.upstream)

    # --- one resource -----------------------------------------------------------------------

    async def read(self, ask: Ask) -> Members:
        found = self._found(ask, ask.params.get("uri"))
        if not isinstance(found, Found):
            return found
        params = {**ask.params, "uri": jsonrpc.raw(found.uri)}
        return _as_asked(await _asked(found.live, ask, params), found)

    async def subscribe(self, ask: Ask) -> Members:
        return await self._wish(ask, self._subscriptions.subscribe)

    async def unsubscribe(self, ask: Ask) -> Members:
        return await self._wish(ask, self._subscriptions.unsubscribe)

    async def _wish(self, ask: Ask, carry_out: Callable[[Wish], Awaitable[Members]]) -> Members:
        found = self._found(ask, ask.params.get("uri"))
        if not isinstance(found, Found):
            return found
        if ask.client is None:
            return jsonrpc.error(jsonrpc.INVALID_REQUEST, "Only a client with a session subscribes")
        try:
            return await carry_out(Wish(ask.client.key, found.live.name, found.uri, found.asked))
        except McpproxyError as error:
            return rpc_error(error, found.live.name)

    def _found(self, ask: Ask, raw: Raw | None) -> Found | Members:
        uri = jsonrpc.text(raw)
        if uri is None:
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, f"{ask.method} needs a uri")
        found = self._addressing.find(ask.caller, uri)
        return found.answer(ask.client) if isinstance(found, NotFound) else found

    # --- one prompt -------------------------------------------------------------------------

    async def prompt(self, ask: Ask) -> Members:
        name = jsonrpc.text(ask.params.get("name"))
        entry = await self._prompt(ask.caller, name or "")
        live = self._pool.find(entry.server) if entry is not None else None
        if entry is None or live is None:
            return _unknown_prompt(name)
        response = await _asked(live, ask, {**ask.params, "name": jsonrpc.raw(entry.item.name)})
        self._mentions.heard(ask.caller.name, live.name, response)
        return response

    async def _prompt(self, caller: Caller, name: str) -> Shown | None:
        """The prompt of this name; an upstream that has not said yet what it has is waited for."""
        entry = self._stock.prompts.find(name)
        if entry is None:
            for live in self._pool:
                is_its = name.startswith(exposed_head(live.name))
                if is_its and not live.is_offered and may_read(caller, live.upstream):
                    await self._pool.offered_by(live)
            entry = self._stock.prompts.find(name)
        return entry if entry is not None and self._exists(caller, entry) else None

    # --- completion -------------------------------------------------------------------------

    async def complete(self, ask: Ask) -> Members:
        try:
            ref = jsonrpc.members(ask.params.get("ref"))
        except ProtocolError:
            ref = {}
        match jsonrpc.text(ref.get("type")):
            case "ref/prompt":
                name = jsonrpc.text(ref.get("name"))
                entry = await self._prompt(ask.caller, name or "")
                live = self._pool.find(entry.server) if entry is not None else None
                if entry is None or live is None:
                    return _unknown_prompt(name)
                own = {**ref, "name": jsonrpc.raw(entry.item.name)}
            case "ref/resource":
                found = self._found(ask, ref.get("uri"))
                if not isinstance(found, Found):
                    return found
                live, own = found.live, {**ref, "uri": jsonrpc.raw(found.uri)}
            case _:
                said = "completion/complete needs a ref of type ref/prompt or ref/resource"
                return jsonrpc.error(jsonrpc.INVALID_PARAMS, said)
        if live.agreed is not None and not live.agreed.has("completions"):
            return jsonrpc.result(_NO_COMPLETION)
        return await _asked(live, ask, {**ask.params, "ref": jsonrpc.raw(own)})


async def _asked(live: LiveUpstream, ask: Ask, params: Members) -> Members:
    """The upstream's response to the same request with these params."""
    try:
        return await live.request(Call(ask.method, params, ask.sink, ask.client))
    except McpproxyError as error:
        return rpc_error(error, live.name)


def _as_asked(response: Members, found: Found) -> Members:
    """What was read, under the URIs by which the client can ask for it again."""
    if found.asked == found.uri or "result" not in response:
        return response
    try:
        result = jsonrpc.members(response["result"])
        contents = _decode_array(result["contents"])
    except (ProtocolError, KeyError, msgspec.DecodeError, RecursionError):
        return response  # not a resource yet, or none that could be read
    for content in contents:
        uri = jsonrpc.text(content.get("uri"))
        if uri is not None:
            content["uri"] = jsonrpc.raw(found.shown(uri))
    result["contents"] = jsonrpc.raw(contents)
    return {**response, "result": jsonrpc.raw(result)}


def _unknown_prompt(name: str | None) -> Members:
    return jsonrpc.error(jsonrpc.INVALID_PARAMS, f"Unknown prompt: {short(name or '')}")
