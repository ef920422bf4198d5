"""Resources and prompts of all upstreams as one list each, and what is asked of one of them.

Law: what a caller may not read does not exist for it. Only names and URIs of the aggregate are
exchanged for the server's own, and back; everything else passes as it is.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.gateway.access import Caller, may_read
from mcpproxy.gateway.addressing import Addressing, Found, NotFound
from mcpproxy.gateway.ask import Ask
from mcpproxy.gateway.catalog import Stock, exposed_head
from mcpproxy.gateway.dispatch import Dispatch, rpc_error
from mcpproxy.gateway.items import Item
from mcpproxy.gateway.pages import Pages
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.shelf import Shelf, Shown
from mcpproxy.gateway.subscriptions import Subscriptions, Wish
from mcpproxy.gateway.text import short
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

_NO_COMPLETION: Final = b'{"completion":{"values":[],"total":0,"hasMore":false}}'
_decode_array: Final = msgspec.json.Decoder(list[Members]).decode


@dataclass(frozen=True, slots=True)
class _FoundPrompt:
    """Where a prompt is, and its name there."""

    live: LiveUpstream
    name: str


class Gathered:
    """Answers the methods of resources, prompts and completion for the aggregate."""

    def __init__(
        self, pool: Pool, stock: Stock, dispatch: Dispatch, subscriptions: Subscriptions
    ) -> None:
        self._pool = pool
        self._stock = stock
        self._dispatch = dispatch
        self._mentions = dispatch.mentions
        self._subscriptions = subscriptions
        self._addressing = Addressing(pool, stock, dispatch.mentions)
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
            self._dispatch.turns.denied_item(ask)
            return found
        params = {**ask.params, "uri": jsonrpc.raw(found.uri)}
        return _as_asked(await self._dispatch.request(found.live, ask, params), found)

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
        found = await self._prompt(ask, name)
        if not isinstance(found, _FoundPrompt):
            return found
        live, params = found.live, {**ask.params, "name": jsonrpc.raw(found.name)}
        response = await self._dispatch.request(live, ask, params)
        self._mentions.heard(ask.caller.name, live.name, response)
        return response

    async def _prompt(self, ask: Ask, name: str | None) -> _FoundPrompt | Members:
        """The prompt of this name, or why there is none. An upstream that has not said yet what it
        has is waited for, and for a login that it needs.
        """
        refused: Members | None = None
        for live in list(self._pool):
            if self._stock.prompts.find(name or "") is not None:
                break
            is_its = (name or "").startswith(exposed_head(live.name))
            if is_its and not live.is_offered and may_read(ask.caller, live.upstream):
                refused = refused or await self._missed(live, ask)
        entry = self._stock.prompts.find(name or "")
        if entry is None or not self._exists(ask.caller, entry):
            return refused or self._unknown_prompt(ask, name)
        return _FoundPrompt(self._pool.get(entry.server), entry.item.name)

    async def _missed(self, live: LiveUpstream, ask: Ask) -> Members | None:
        """Once this upstream has said what it has; otherwise why it cannot."""
        try:
            await self._dispatch.introduced(live, ask)
            await self._pool.offered_by(self._pool.get(live.name))
        except McpproxyError as error:
            return rpc_error(error, live.name)
        return None

    def _unknown_prompt(self, ask: Ask, name: str | None) -> Members:
        self._dispatch.turns.denied_item(ask)
        return jsonrpc.error(jsonrpc.INVALID_PARAMS, f"Unknown prompt: {short(name or '')}")

    # --- completion -------------------------------------------------------------------------

    async def complete(self, ask: Ask) -> Members:
        try:
            ref = jsonrpc.members(ask.params.get("ref"))
        except ProtocolError:
            ref = {}
        match jsonrpc.text(ref.get("type")):
            case "ref/prompt":
                prompt = await self._prompt(ask, jsonrpc.text(ref.get("name")))
                if not isinstance(prompt, _FoundPrompt):
                    return prompt
                live, own = prompt.live, {**ref, "name": jsonrpc.raw(prompt.name)}
            case "ref/resource":
                found = self._found(ask, ref.get("uri"))
                if not isinstance(found, Found):
                    self._dispatch.turns.denied_item(ask)
                    return found
                live, own = found.live, {**ref, "uri": jsonrpc.raw(found.uri)}
            case _:
                said = "completion/complete needs a ref of type ref/prompt or ref/resource"
                return jsonrpc.error(jsonrpc.INVALID_PARAMS, said)
        if live.agreed is not None and not live.agreed.has("completions"):
            return jsonrpc.result(_NO_COMPLETION)
        params = {**ask.params, "ref": jsonrpc.raw(own)}
        return await self._dispatch.request(live, ask, params)


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
