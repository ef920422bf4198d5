"""Newline-delimited messages, as stdio carries them: an incremental, bounded splitter."""

from typing import Final

CHUNK: Final = 1 << 16


class LineSplitter:
    """Bytes in, whole lines out. A line over the limit is dropped whole and counted."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self.dropped = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without line ends and blank lines."""
        lines: list[bytes] = []
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            line = b"".join(self._parts).strip()
            if line and not self._skipping:
                lines.append(line)
            self._parts, self._size, self._skipping = [], 0, False
        self._add(rest)
        return lines

    def _add(self, piece: bytes) -> None:
        if self._skipping or not piece:
            return
        self._size += len(piece)
        if self._size > self._max_line:
            self._parts, self._skipping = [], True
            self.dropped += 1
        else:
            self._parts.append(piece)
