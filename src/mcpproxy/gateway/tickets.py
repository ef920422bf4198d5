"""Session ids that say what the session is, so that the next run of us can go on with it.

Law: an id is believed only with our signature, and holds for the caller and place it was made
for. It holds no secret, and nothing that its client did not say itself.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

import msgspec
from msgspec import Raw

_PREFIX: Final = "s1."
# A longer id would be too much for some HTTP servers and clients; such a session ends with us.
_LONGEST: Final = 2000


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What a session's id says. `issued_at` is in seconds since 1970."""

    caller: str
    place: str
    version: str
    issued_at: int
    capabilities: Raw = Raw(b"{}")
    info: Raw = Raw(b"null")
    nonce: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Ticket).decode


class Tickets:
    """Issues and reads session ids, with one key for every run and replica of us."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, ticket: Ticket) -> str:
        nonce = secrets.token_urlsafe(12)
        body = _base64(_encode(msgspec.structs.replace(ticket, nonce=nonce)))
        issued = f"{_PREFIX}{body}.{self._signature(body)}"
        return issued if len(issued) <= _LONGEST else secrets.token_urlsafe(24)

    def read(self, session_id: str) -> Ticket | None:
        """What it says, if we signed it."""
        body, _, signature = session_id.removeprefix(_PREFIX).partition(".")
        if not session_id.startswith(_PREFIX) or len(session_id) > _LONGEST:
            return None
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        try:
            return _decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError):
            return None

    def _signature(self, body: str) -> str:
        return _base64(hmac.digest(self._key, body.encode("latin-1", "replace"), hashlib.sha256))


def digest(session_id: str) -> str:
    """What is written down of a session instead of its id."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:24]


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
