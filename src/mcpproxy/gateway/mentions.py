"""Who has lately told a caller of which URI: results link to resources by their servers' own URIs.

Law: results pass untouched, so a link in one is a URI that no list shows. It leads back to the
server that gave it, for the caller that it was given to. Bounded; the oldest are forgotten.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from mcpproxy.gateway.items import MAX_URI
from mcpproxy.gateway.wire.jsonrpc import Members

# Links of a long working day of several agents, a few hundred bytes each.
_MAX_KEPT: Final = 8192
_MAX_OF_ONE: Final = 256


class _Resource(msgspec.Struct):
    uri: str = ""


class _Block(msgspec.Struct):
    """A content block: `uri` of a link, `resource` of what is embedded."""

    type: str = ""
    uri: str = ""
    resource: _Resource | None = None


class _Message(msgspec.Struct):
    content: _Block | list[_Block] = []


class _Result(msgspec.Struct):
    """Of tools/call or of prompts/get."""

    content: list[_Block] = []
    messages: list[_Message] = []


_decode: Final = msgspec.json.Decoder(_Result).decode


class Mentions:
    """Servers by caller and URI, the oldest first."""

    def __init__(self) -> None:
        self._servers: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()

    def heard(self, caller: str, server: str, response: Members) -> None:
        """Remember the links of a result that this caller gets from this server."""
        raw = response.get("result")
        # Most results link to nothing, and this is on the way of every call.
        if raw is None or b'"uri"' not in bytes(raw):
            return
        try:
            result = _decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return
        for uri in _uris(result)[:_MAX_OF_ONE]:
            key = (caller, uri)
            others = tuple(one for one in self._servers.pop(key, ()) if one != server)
            self._servers[key] = (*others, server)
        while len(self._servers) > _MAX_KEPT:
            self._servers.popitem(last=False)

    def of(self, caller: str, uri: str) -> tuple[str, ...]:
        """The servers that mentioned it to this caller."""
        return self._servers.get((caller, uri), ())


def _uris(result: _Result) -> list[str]:
    blocks = list(result.content)
    for message in result.messages:
        content = message.content
        blocks += content if isinstance(content, list) else [content]
    found = [block.uri for block in blocks if block.type == "resource_link"]
    found += [block.resource.uri for block in blocks if block.resource is not None]
    return [uri for uri in found if 0 < len(uri) <= MAX_URI]
