"""The revisions of MCP, and what differs between them on the wire.

Law: versions are an enumerated set. An unknown one is never compared, only refused or answered
with one of ours.
"""

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

HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022

NAME_OF: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Modern methods whose subject is repeated in the `Mcp-Name` header, and the member it is."""


def agreed_version(asked: str | None) -> str:
    """The version a server answers `initialize` with: the asked one, or our newest."""
    return asked if asked in LEGACY_VERSIONS else LATEST_LEGACY
