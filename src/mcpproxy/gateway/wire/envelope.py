"""What each request of the stateless era says of itself, in `_meta` and again in headers.

Law: the headers repeat the body; both are made here, so that they cannot disagree.
"""

from typing import Final

import msgspec
from msgspec import Raw

from mcpproxy import __version__
from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.wire import eras, jsonrpc
from mcpproxy.gateway.wire.jsonrpc import Members
from mcpproxy.gateway.wire.param_headers import (
    InvalidAnnotation,
    ParamHeaders,
    headers_of,
    param_headers,
)

_VERSION: Final = jsonrpc.raw(eras.LATEST_MODERN)
_NONE: Final = jsonrpc.raw({})
_OWN_INFO: Final = jsonrpc.raw({"name": "mcpproxy", "version": __version__})
# What a client of the older era can do that this era knows too, and how it is asked.
_SHARED: Final = ("sampling", "elicitation", "roots", "experimental")

_decode_tools: Final = msgspec.json.Decoder(list[Raw]).decode


def envelope(params: Members, client: Client | None, log_level: str | None) -> Members:
    """The params of a request with what it must say of itself; `log_level` for clients that did
    not ask for another.
    """
    meta = jsonrpc.members(params.get("_meta"))
    meta[eras.META_VERSION] = _VERSION
    meta[eras.META_CAPABILITIES] = _NONE if client is None else _capabilities(client)
    meta[eras.META_CLIENT] = _OWN_INFO if client is None or client.info is None else client.info
    level = log_level if client is None or client.log_level is None else client.log_level
    if level is not None:
        meta[eras.META_LOG_LEVEL] = jsonrpc.raw(level)
    return {**params, "_meta": jsonrpc.raw(meta)}


def _capabilities(client: Client) -> Raw:
    declared = client.capabilities
    if client.era is Era.LEGACY:
        if client.asker is None:
            return _NONE
        declared = {name: declared[name] for name in _SHARED if name in declared}
    return jsonrpc.raw(declared) if declared else _NONE


class Annotations:
    """Which arguments of which tools are repeated in headers, as the tools were last listed."""

    def __init__(self) -> None:
        self._by_tool: dict[str, ParamHeaders] = {}

    def learn(self, params: Members, response: Members) -> None:
        """A page of tools/list, with the params that asked for it."""
        if "cursor" not in params:
            self._by_tool = {}
        result = response.get("result")
        if result is None or b"x-mcp-header" not in bytes(result):
            return
        try:
            for definition in _decode_tools(jsonrpc.members(result).get("tools") or b"[]"):
                name = jsonrpc.text(jsonrpc.members(definition).get("name"))
                if name is not None:
                    self._note(name, definition)
        except (msgspec.DecodeError, ProtocolError):
            return  # whoever lists tools says so

    def _note(self, name: str, definition: Raw) -> None:
        try:
            found = param_headers(bytes(definition))
        except (InvalidAnnotation, msgspec.DecodeError):
            return  # it is hidden: nobody calls it
        if found:
            self._by_tool[name] = found

    def of(self, tool: str) -> ParamHeaders:
        return self._by_tool.get(tool, {})

    def headers(self, tool: str, arguments: Raw | None) -> dict[str, str]:
        annotated = self._by_tool.get(tool)
        if annotated is None:
            return {}
        try:
            return headers_of(annotated, bytes(arguments or b""))
        except msgspec.DecodeError:
            return {}


def headers_for(method: str, params: Members, annotations: Annotations) -> dict[str, str]:
    """The headers of one request besides those that all of them have."""
    headers = {"Mcp-Method": eras.header_value(method)}
    subject = eras.NAME_OF.get(method)
    name = None if subject is None else jsonrpc.text(params.get(subject))
    if name is not None:
        headers["Mcp-Name"] = eras.header_value(name)
        if method == "tools/call":
            headers |= annotations.headers(name, params.get("arguments"))
    return headers
