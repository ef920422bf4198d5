"""What an authorization server really did: its own record of requests, read back."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path


def fingerprint(token: str) -> str:
    """How a token appears in the record: recognisable, and of no use to a thief."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Request:
    """One request and its outcome. Times are Unix seconds; tokens are fingerprints.

    `processed` is whether the provider itself saw it (a fault may have come before), `status` what
    the provider answered, whether or not that answer reached the client (see `fault`).
    """

    at: float
    done_at: float
    path: str
    grant_type: str | None
    client_id: str | None
    resource: str | None
    refresh_token: str | None
    processed: bool
    status: int | None
    error: str | None
    error_description: str | None
    issued_access_token: str | None
    issued_refresh_token: str | None
    fault: str | None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and self.status < 300


_NAMES = {field.name for field in fields(Request)}


def read_requests(path: Path) -> list[Request]:
    """All of them, oldest first; a line torn by a kill is left out."""
    if not path.exists():
        return []
    requests = []
    for line in path.read_text().splitlines():
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        requests.append(Request(**{name: found.get(name) for name in _NAMES}))
    return requests
