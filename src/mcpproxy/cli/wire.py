"""One HTTP request to our own daemon, on a connection of its own.

Law: sockets and nothing else. http.client alone would take a third of a command's time to load.
"""

import socket
from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import Final, NamedTuple

MAX_HEAD: Final = 64 * 1024
PIECE: Final = 64 * 1024


class NotHttp(Exception):
    """What answered does not speak HTTP, or stopped in the middle."""


class Answer(NamedTuple):
    """The head, and the body as it is on the wire: `read` it whole, or by `lines`."""

    status: int
    headers: Mapping[str, str]
    body: BufferedReader

    def read(self, limit: int) -> bytes:
        """The whole body. Raises NotHttp when it is cut off or larger than `limit`."""
        data = bytearray()
        for piece in self._pieces():
            data += piece
            if len(data) > limit:
                raise NotHttp("the answer is too large")
        promised = self.headers.get("content-length", "")
        if promised.isdigit() and len(data) != int(promised):
            raise NotHttp("the answer is cut off")
        return bytes(data)

    def lines(self) -> Iterator[bytes]:
        """Line by line as they come, without their ends."""
        rest = b""
        for piece in self._pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            while piece := self.body.read1(PIECE):
                yield piece
            return
        while size := _chunk_size(self.body.readline(MAX_HEAD)):
            piece = self.body.read(size)
            if len(piece) != size:
                raise NotHttp("the answer is cut off")
            self.body.readline(MAX_HEAD)
            yield piece


def exchange(
    peer: socket.socket,
    method: str,
    path: str,
    headers: Mapping[str, str],
    payload: bytes | None,
) -> Answer:
    """Send and read the head of the answer. Raises OSError (TimeoutError too) and NotHttp."""
    sent = {"Host": "localhost", "Connection": "close", **headers}
    if payload is not None:
        sent |= {"Content-Type": "application/json", "Content-Length": str(len(payload))}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    peer.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (payload or b""))
    body = peer.makefile("rb")
    status = body.readline(MAX_HEAD).split(b" ", 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
        raise NotHttp("the answer is not HTTP")
    fields: dict[str, str] = {}
    left = MAX_HEAD
    while line := body.readline(left).decode("latin-1").strip():
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
        left -= len(line)
        if left <= 0:
            raise NotHttp("the head of the answer is too large")
    return Answer(int(status[1]), fields, body)


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise NotHttp("the answer is cut off") from error
