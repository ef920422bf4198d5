"""Bodies that come compressed (RFC 9110 section 8.4.1): gzip and deflate, which we ask for.

Law: bounded, and whole. A little that unpacks to very much comes out in pieces of a fixed size;
what ends too early is an error.
"""

import zlib
from typing import Final

from mcpproxy.core.errors import ProtocolError

ACCEPTED: Final = "gzip, deflate"
PIECE: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_MEMBER: Final = b"\x1f"


class Inflate:
    """Packed bytes in, plain ones out."""

    def __init__(self, encoding: str) -> None:
        """Raises ProtocolError for an encoding that was not asked for."""
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise ProtocolError(f"the answer has the content encoding {encoding[:40]!r}")
        self._zlib = zlib.decompressobj(_GZIP)
        self._undecided = encoding == "deflate"
        self._packed = b""
        self._more = False
        self._begun = False

    @property
    def has_more(self) -> bool:
        """Whether what came already has more to give."""
        return self._more

    def put(self, packed: bytes) -> None:
        """Take some; none of it may be empty."""
        if self._undecided:
            # Some servers send the bare stream without the wrapper (RFC 1950) that is demanded.
            wrapped = packed[0] & 0x0F == zlib.DEFLATED
            self._zlib = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
            self._undecided = False
        self._packed += packed
        self._more = self._begun = True

    def piece(self) -> bytes:
        """Up to PIECE bytes; b"" when there is nothing yet. Raises ProtocolError."""
        while True:
            try:
                plain = self._zlib.decompress(self._packed, PIECE)
            except zlib.error as error:
                raise ProtocolError(f"the answer is not what it says it is: {error}") from error
            self._packed = self._zlib.unconsumed_tail
            self._more = len(plain) == PIECE
            if self._zlib.eof and (rest := self._zlib.unused_data)[:1] == _MEMBER:
                # A gzip body is one member or several (RFC 1952 section 2.2).
                self._zlib, self._packed, self._more = zlib.decompressobj(_GZIP), rest, True
                if not plain:
                    continue
            return plain

    def end(self) -> None:
        """There is no more. Raises ProtocolError when there should be."""
        if self._begun and not self._zlib.eof:
            raise ProtocolError("the answer is cut off")
