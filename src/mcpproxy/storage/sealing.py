"""Rows sealed one by one with AES-256-GCM (NIST SP 800-38D), each bound to its identity.

Law: a row opens only with the key that sealed it and only in its own place; a swapped or flipped
row is refused alone. Envelope: version (1 byte), key id (8), nonce (12), ciphertext with tag.
"""

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcpproxy.core.errors import StoreCorrupt, WrongKey

KEY_BYTES: Final = 32
VERSION: Final = b"\x01"
NONCE_BYTES: Final = 12
KEY_ID_BYTES: Final = 8
KEY_ID_AT: Final = len(VERSION)
_NONCE_AT: Final = KEY_ID_AT + KEY_ID_BYTES
_HEADER: Final = _NONCE_AT + NONCE_BYTES
_TAG: Final = 16

RESTORE: Final = "restore the data directory from a backup, or log in to this server again"


class Sealer:
    """Seals and opens rows with one key. Random nonces: 2^32 rows a key are safe, for a vault of
    logins more than it will ever write.
    """

    __slots__ = ("_cipher", "key_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)
        self.key_id = hashlib.sha256(b"mcpproxy key id\0" + key).digest()[:KEY_ID_BYTES]

    def __repr__(self) -> str:
        return f"Sealer(key {self.key_id.hex()})"

    def seal(self, plain: bytes, *identity: str) -> bytes:
        """`identity` names the row: its table and the columns that are stored in the open."""
        nonce = os.urandom(NONCE_BYTES)
        header = VERSION + self.key_id
        sealed = self._cipher.encrypt(nonce, plain, _associated(header, identity))
        return header + nonce + sealed

    def open(self, envelope: bytes, *identity: str) -> bytes:
        """Raises WrongKey when another key sealed it, StoreCorrupt when it was changed."""
        what = " ".join(identity[:2])
        if len(envelope) < _HEADER + _TAG or envelope[:1] != VERSION:
            raise StoreCorrupt(f"the stored {what} is not a sealed record", next_step=RESTORE)
        key_id = envelope[KEY_ID_AT : KEY_ID_AT + KEY_ID_BYTES]
        if key_id != self.key_id:
            raise WrongKey(
                f"the stored {what} was sealed with key {key_id.hex()}, this is key "
                f"{self.key_id.hex()}",
                next_step="put the former key back",
            )
        header, nonce = envelope[:_NONCE_AT], envelope[_NONCE_AT:_HEADER]
        try:
            return self._cipher.decrypt(nonce, envelope[_HEADER:], _associated(header, identity))
        except InvalidTag:
            raise StoreCorrupt(
                f"the stored {what} was changed since it was written", next_step=RESTORE
            ) from None


def _associated(header: bytes, identity: tuple[str, ...]) -> bytes:
    """The identity's parts with their lengths, so that no two identities read the same."""
    parts = [part.encode() for part in identity]
    return header + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
