"""What an upstream answered over HTTP: status and headers, and a body that comes piece by piece.

Law: a body is read within a bound or not at all; `close` frees its connection at any time. What a
status means is decided here, once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mcpproxy.core.challenge import bearer_challenge
from mcpproxy.core.errors import ProtocolError
from mcpproxy.gateway.failures import Busy, Forbidden, LinkFailed, NotMcp, ScopeNeeded, Unauthorized
from mcpproxy.gateway.text import short

Headers = Sequence[tuple[str, str]]


class Answer(ABC):
    """`headers` have lower-case names, in the order they came."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether more of the body is to come from the upstream."""

    @abstractmethod
    async def piece(self) -> bytes:
        """The next of the body, b"" at its end. Raises Broken when it ends before its end."""

    @abstractmethod
    def close(self) -> None:
        """Nobody wants the rest: a connection that is still bringing it ends."""

    def header(self, name: str) -> str:
        """The first of this name (in lower case); "" when there is none."""
        for known, value in self.headers:
            if known == name:
                return value
        return ""

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case."""
        return self.header("content-type").partition(";")[0].strip().lower()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ProtocolError when it is larger than `limit`, or Broken."""
        parts: list[bytes] = []
        size = 0
        while part := await self.piece():
            size += len(part)
            if size > limit:
                self.close()
                raise ProtocolError(f"an answer is larger than {limit} bytes")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def unexpected(answer: Answer, wanted: str) -> NotMcp:
    """An answer within 2xx that nobody who speaks MCP gives."""
    found = answer.content_type or "no content type"
    return NotMcp(f"HTTP {answer.status} with {found} instead of {wanted}", status=answer.status)


def refusal(answer: Answer, detail: str = "") -> LinkFailed:
    """What an answer outside 2xx means. Outages and rate limits are never about the protocol."""
    status = answer.status
    said = f"HTTP {status} {short(detail or answer.reason, 120)}".rstrip()
    given = [value for name, value in answer.headers if name == "www-authenticate"]
    challenge = ", ".join(given) or None
    if status == 401:
        return Unauthorized("the server asks for a login", challenge=challenge)
    if status == 403:
        lacking = _forbidden(challenge)
        if lacking is not None:
            return ScopeNeeded(lacking, challenge=challenge)
        return Forbidden(said, challenge=challenge)
    if status in (408, 425, 429) or status >= 500:
        return Busy(said, status=status)
    if 300 <= status < 400:
        to = short(answer.header("location") or "nowhere", 200)
        return NotMcp(
            f"HTTP {status}, redirects to {to}",
            status=status,
            next_step="redirects are not followed: configure the URL that it leads to",
        )
    return NotMcp(said, status=status)


def _forbidden(challenge: str | None) -> str | None:
    """What a 403 asks for, when it asks for more scope (RFC 6750 section 3.1)."""
    asked = bearer_challenge(challenge)
    if asked is None or asked.error != "insufficient_scope":
        return None
    return f"the login lacks a scope that is needed: {short(asked.scope or 'unnamed', 120)}"
