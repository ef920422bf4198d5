"""The program behind a request: what it can do, and how it is asked something on the way back.

Law: an upstream's question goes to the client whose call it serves and to nobody else.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from msgspec import Raw

from mcpproxy.gateway.wire.jsonrpc import Members


class Era(StrEnum):
    """The two families of revisions (PROTOCOL: versioning)."""

    LEGACY = "legacy"
    """With an `initialize` handshake: up to 2025-11-25."""
    MODERN = "modern"
    """Stateless, each request with its own `_meta`: from 2026-07-28."""


class Asker(Protocol):
    """A way back to the client while its request is being carried out."""

    async def ask(self, method: str, params: Raw | None) -> Members:
        """The client's response to `sampling/createMessage`, `elicitation/create` or `roots/list`,
        an error response when it cannot or is gone. Waits as long as a person may take.
        """
        ...

    def streamed(self) -> None:
        """The upstream answers with an event stream that can be come back to."""
        ...

    def hung_up(self) -> None:
        """The upstream ended that stream before its answer, which is to be come back for."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """A client as far as an upstream may know it.

    `key` tells clients apart (a session's id; something of the request's own without sessions);
    `caller` is who proved to be behind it: a client without a name is alone with itself.
    `capabilities` are what it declared. `log_level` is what a modern request asked for.
    """

    era: Era
    key: str
    capabilities: Members = field(default_factory=dict)
    asker: Asker | None = None
    log_level: str | None = None
    info: Raw | None = None
    caller: str = ""
