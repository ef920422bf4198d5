"""Which server a URI from a client of the aggregate belongs to.

Law: an address that names a server goes to that server and nowhere else, whatever others offer.
A server's own URI is understood when it can only be one server's: the one that has mentioned it to
this caller, else the one that lists it, else the one with a template for it. A link leads to who
gave it, so nobody catches the links of others by a list or by a template that fits everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mcpproxy.gateway.access import Caller, may_read
from mcpproxy.gateway.addresses import address, address_head, split_address
from mcpproxy.gateway.catalog import Stock
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.mentions import Mentions
from mcpproxy.gateway.pool import Pool
from mcpproxy.gateway.shelf import Shown
from mcpproxy.gateway.templates import matches
from mcpproxy.gateway.text import short
from mcpproxy.gateway.upstream import LiveUpstream
from mcpproxy.gateway.wire import jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members

# 2025-11-25 and older have a code of their own for it; later it is -32602.
_NOT_FOUND = -32002


@dataclass(frozen=True, slots=True)
class Found:
    """A resource or template: where it is, its URI there, and the one that was asked for."""

    live: LiveUpstream
    uri: str
    asked: str

    def shown(self, uri: str) -> str:
        """A URI of the same server, in the form that was asked for."""
        if self.asked == self.uri:
            return uri
        return self.asked if uri == self.uri else address(self.live.name, uri)


@dataclass(frozen=True, slots=True)
class NotFound:
    """No server has it for this caller, or several may, by these addresses."""

    uri: str
    several: tuple[str, ...] = ()

    def answer(self, client: Client | None) -> Members:
        is_modern = client is not None and client.era is Era.MODERN
        if self.several:
            others = ", ".join(short(each) for each in self.several[:8])
            said = f"Several servers may have {short(self.uri)}; ask for one of: {others}"
            return jsonrpc.error(jsonrpc.INVALID_PARAMS, said)
        code = jsonrpc.INVALID_PARAMS if is_modern else _NOT_FOUND
        return jsonrpc.error(code, f"Resource not found: {short(self.uri)}", {"uri": self.uri})


class Addressing:
    def __init__(self, pool: Pool, stock: Stock, mentions: Mentions) -> None:
        self._pool = pool
        self._stock = stock
        self._mentions = mentions

    def find(self, caller: Caller, uri: str) -> Found | NotFound:
        split = split_address(uri)
        if split is not None:
            head, own = split
            for server in self._pool.names:
                if address_head(server) == head:
                    live = self._readable(caller, server)
                    return NotFound(uri) if live is None else Found(live, own, uri)
        for servers in self._candidates(caller, uri):
            lives = [found for each in sorted(servers) if (found := self._readable(caller, each))]
            if len(lives) == 1:
                return Found(lives[0], uri, uri)
            if lives:
                return NotFound(uri, tuple(address(live.name, uri) for live in lives))
        return NotFound(uri)

    def _candidates(self, caller: Caller, uri: str) -> Iterable[set[str]]:
        """Servers that may have it, the most certain ones first."""
        stock = self._stock
        yield set(self._mentions.of(caller.name, uri))
        yield {entry.server for entry in stock.resources.called(uri)}
        yield {entry.server for entry in stock.templates.called(uri)}
        yield {entry.server for entry in stock.templates if _fits(entry, uri)}

    def _readable(self, caller: Caller, server: str) -> LiveUpstream | None:
        live = self._pool.find(server)
        return live if live is not None and may_read(caller, live.upstream) else None


def _fits(entry: Shown, uri: str) -> bool:
    return matches(entry.item.name, uri)
