"""The revisions of MCP, and what differs between them on the wire.

Law: versions are an enumerated set. An unknown one is never compared, only refused or answered
with one of ours.
"""

import base64
import binascii
from typing import Final

LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""The ladder: revisions with an `initialize` handshake, newest first."""

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Stateless revisions: each request carries its version in `_meta`."""

ALL_VERSIONS: Final = (*MODERN_VERSIONS, *LEGACY_VERSIONS)

LATEST_LEGACY: Final = LEGACY_VERSIONS[0]
LATEST_MODERN: Final = MODERN_VERSIONS[0]

# What a server that gets no MCP-Protocol-Version header is to assume (2025-06-18, transports).
ASSUMED_VERSION: Final = "2025-03-26"

META_PREFIX: Final = "io.modelcontextprotocol/"
META_VERSION: Final = META_PREFIX + "protocolVersion"
META_CAPABILITIES: Final = META_PREFIX + "clientCapabilities"
META_CLIENT: Final = META_PREFIX + "clientInfo"
META_SERVER: Final = META_PREFIX + "serverInfo"
META_LOG_LEVEL: Final = META_PREFIX + "logLevel"
META_SUBSCRIPTION: Final = META_PREFIX + "subscriptionId"

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
MODERN_ERRORS: Final = (HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION)
"""Codes that only servers of a modern revision know."""

NAME_OF: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Modern methods whose subject is repeated in the `Mcp-Name` header, and the member it is."""


def agreed_version(asked: str | None) -> str:
    """The version a server answers `initialize` with: the asked one, or our newest."""
    return asked if asked in LEGACY_VERSIONS else LATEST_LEGACY


_BASE64_HEAD: Final = "=?base64?"
_BASE64_TAIL: Final = "?="


def header_value(text: str) -> str:
    """A name as a header can carry it: plain where that is safe, else in base64."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    if plain and not text.startswith(_BASE64_HEAD):
        return text
    return _BASE64_HEAD + base64.b64encode(text.encode()).decode() + _BASE64_TAIL


def from_header(value: str) -> str | None:
    """The name that a header carries; None when its base64 is broken."""
    if not (value.startswith(_BASE64_HEAD) and value.endswith(_BASE64_TAIL)):
        return value
    try:
        encoded = value[len(_BASE64_HEAD) : -len(_BASE64_TAIL)]
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
