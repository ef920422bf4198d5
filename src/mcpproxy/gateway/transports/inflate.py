"""Bodies that come compressed (RFC 9110 section 8.4.1): gzip and deflate, which we ask for.

Law: bounded, and whole. A little that unpacks to very much comes out in pieces of a fixed size;
what ends too early is an error.
"""

import zlib
from typing import Final

from mcpproxy.core.errors import ProtocolError

ACCEPTED: Final = "gzip, deflate"
PIECE: Final = 256 * 1024
AT_ONCE: Final = 4 * 1024
"""Packed bytes that are looked at together: what follows a member is copied for each, so that many
little ones together would take the square of their time."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_MEMBER: Final = b"\x1f"


class Inflate:
    """Packed bytes in, plain ones out."""

    def __init__(self, encoding: str) -> None:
        """Raises ProtocolError for an encoding that was not asked for."""
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise ProtocolError(f"the answer has the content encoding {encoding[:40]!r}")
        self._zlib = zlib.decompressobj(_GZIP)
        self._gzip = encoding != "deflate"
        self._undecided = not self._gzip
        self._packed = b""
        self._at = 0
        self._more = False
        self._begun = False
        self._over = False

    @property
    def has_more(self) -> bool:
        """Whether what came already has more to give."""
        return self._more

    def put(self, packed: bytes) -> None:
        """Take some; none of it may be empty."""
        if self._over:
            return
        if self._undecided:
            # Some servers send the bare stream without the wrapper (RFC 1950) that is demanded.
            wrapped = packed[0] & 0x0F == zlib.DEFLATED
            self._zlib = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
            self._undecided = False
        self._packed, self._at = self._packed[self._at :] + packed, 0
        self._more = self._begun = True

    def piece(self) -> bytes:
        """Up to PIECE bytes; b"" when there is nothing yet. Raises ProtocolError."""
        plain = b""
        while self._more and not plain:
            plain = self._next()
        return plain

    def _next(self) -> bytes:
        """What the next few packed bytes hold."""
        some = self._packed[self._at : self._at + AT_ONCE]
        if self._zlib.eof and not some:
            self._more = False
            return b""
        if self._zlib.eof:
            # A gzip body is one member or several (RFC 1952 section 2.2); anything else that
            # follows is no part of it.
            if some[:1] != _MEMBER or not self._gzip:
                self._packed, self._at, self._more, self._over = b"", 0, False, True
                return b""
            self._zlib = zlib.decompressobj(_GZIP)
        try:
            plain = self._zlib.decompress(some, PIECE)
        except zlib.error as error:
            raise ProtocolError(f"the answer is not what it says it is: {error}") from error
        # At the end of a member what is left may stand in both, once.
        ended = self._zlib.eof
        left = len(self._zlib.unused_data if ended else self._zlib.unconsumed_tail)
        self._at += len(some) - left
        self._more = len(plain) == PIECE or self._at < len(self._packed)
        return plain

    def end(self) -> None:
        """There is no more. Raises ProtocolError when there should be."""
        if self._begun and not self._zlib.eof:
            raise ProtocolError("the answer is cut off")
