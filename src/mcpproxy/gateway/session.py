"""What a session with an upstream is, in either era: calls by id, and what it says by itself.

Law: our ids and progress tokens go up, the caller's come back; nothing else of a payload changes.
"""

from asyncio import Timeout
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import Raw

from mcpproxy.gateway.client import Client, Era
from mcpproxy.gateway.wire.jsonrpc import Members

Sink = Callable[[Members], None]
"""Takes a notification that belongs to one call; returns at once."""


class Seat(Protocol):
    """The place that a call takes at its server."""

    def lend(self) -> None:
        """Its client is asked something: meanwhile the place may be another's."""
        ...

    def take_back(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an upstream, with the caller's params; `sink` hears what precedes the answer.

    `client` is whom the upstream may ask back; None when the call is ours. `caller` is who proved
    to be behind a tool call, also where no client is.
    """

    method: str
    params: Members | None = None
    sink: Sink | None = None
    client: Client | None = None
    caller: str = ""
    seat: Seat | None = None


NOBODY: Final[frozenset[str]] = frozenset()


class Listener(Protocol):
    """Who holds the session. Both return at once."""

    def notified(self, method: str, message: Members, about: frozenset[str] = NOBODY) -> None:
        """The upstream said something that belongs to no call. `about` are the callers of whom one
        may be meant; nobody: it is for all.
        """
        ...

    def ended(self, session: "Session", failure: Exception) -> None:
        """The session is of no more use."""
        ...


class Session(Protocol):
    """Requests in flight on one link. `failure` is why it is of no more use, if so."""

    era: Era
    failure: Exception | None

    @property
    def awaited(self) -> bool:
        """Whether anybody but us waits for an answer on it."""
        ...

    async def request(self, call: Call, deadline: Timeout | None = None) -> Members:
        """The response to a call, under an id of ours. `deadline` stands still while the call's
        client is asked something.

        Cancelling it tells the upstream and leaves nothing behind. Raises LinkFailed,
        TokenUnavailable or ProtocolError.
        """
        ...

    async def notify(self, method: str, params: Raw | None) -> None:
        """Pass a notification on, if this era has it."""
        ...

    async def check(self) -> None:
        """Whether the upstream still answers: returns when it did. Raises as `request`."""
        ...

    async def retire(self, patience: float) -> None:
        """Let the calls in flight end, for so many seconds; then close."""
        ...

    async def close(self) -> None: ...
