"""Stored records as bytes: grants, pending logins, client registrations and ledger lines, every
field of them.

Law: what was written is read back equal. A field that a newer program added is ignored, a field
that an older program did not know takes its default; `tests/storage/golden` holds what was
written once and must be readable for ever.
"""

from typing import Any, Final, TypeVar

import msgspec

from mcpproxy.core.errors import StoreCorrupt, StoreError
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import ClientRegistration, Grant, Secret
from mcpproxy.core.pending_login import PendingLogin

Record = Grant | PendingLogin | ClientRegistration | LedgerLine
_R = TypeVar("_R", Grant, PendingLogin, ClientRegistration, LedgerLine)


def _reveal(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"a {type(value).__name__} is not stored")


def _conceal(type_: type, value: object) -> Any:
    if type_ is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(f"a {type_.__name__} is not stored")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_reveal)
_GRANTS: Final = msgspec.json.Decoder(Grant, dec_hook=_conceal)
_LOGINS: Final = msgspec.json.Decoder(PendingLogin, dec_hook=_conceal)
_REGISTRATIONS: Final = msgspec.json.Decoder(ClientRegistration, dec_hook=_conceal)
_LINES: Final = msgspec.json.Decoder(LedgerLine)


def encode(record: Record) -> bytes:
    """The record as JSON, secrets revealed: for sealing, and for nothing else."""
    try:
        return _ENCODER.encode(record)
    except UnicodeEncodeError:
        # The text itself stays out of the message: it may be a token.
        raise StoreError(
            f"a {type(record).__name__} holds text that is not Unicode and cannot be stored",
            next_step="report this with the provider's name",
        ) from None


def decode_grant(data: bytes) -> Grant:
    """Raises StoreCorrupt."""
    return _decode(_GRANTS, data)


def decode_login(data: bytes) -> PendingLogin:
    """Raises StoreCorrupt."""
    return _decode(_LOGINS, data)


def decode_registration(data: bytes) -> ClientRegistration:
    """Raises StoreCorrupt."""
    return _decode(_REGISTRATIONS, data)


def decode_line(data: bytes) -> LedgerLine:
    """Raises StoreCorrupt."""
    return _decode(_LINES, data)


def _decode(decoder: "msgspec.json.Decoder[_R]", data: bytes) -> _R:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec names the path and the types, never the value.
        raise StoreCorrupt(
            f"a stored record is not what was written: {error}",
            next_step="restore the data directory from a backup, or log in to this server again",
        ) from None
