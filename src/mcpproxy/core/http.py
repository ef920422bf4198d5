"""An HTTP exchange as values, so that OAuth conversations can be generators of requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mcpproxy.core.model import RefreshFailure


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `url` is absolute; header names are lower case.

    `on_behalf_of` is the configured server whose word led to this URL: then it may not lead into
    a private network unless that server lives in one. None: the URL was vetted before.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One answer, whole or cut off. Header names are lower case.

    `complete` is False when the connection ended before the body did.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True


@dataclass(frozen=True, slots=True)
class NoReply:
    """There was no answer; `failure.kind` is NOT_SENT or UNKNOWN."""

    failure: RefreshFailure
