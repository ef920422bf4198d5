"""Server-sent events (WHATWG HTML 9.2): an incremental parser and a writer.

Law: bounded. An event larger than the limit raises; the parser never holds more than that.
"""

from dataclasses import dataclass
from typing import Final

from mcpproxy.core.errors import ProtocolError

KEEP_ALIVE: Final = b": keep-alive\n\n"
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event. `id` is the last event id seen so far, None before the first."""

    data: bytes
    event: str = "message"
    id: str | None = None


class EventParser:
    """Bytes in, events out; `retry_ms` and `last_id` are what the stream said last."""

    def __init__(self, max_event: int) -> None:
        self._max_event = max_event
        self._partial: list[bytes] = []
        self._first_line = True
        self._after_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self.last_id: str | None = None
        self.retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes. Raises ProtocolError when one is too large."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        head, *others = chunk.split(b"\n")
        self._hold(head)
        events: list[Event] = []
        for piece in others:
            line = b"".join(self._partial)
            self._size -= len(line)
            self._partial.clear()
            if (event := self._line(line)) is not None:
                events.append(event)
            self._hold(piece)
        return events

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._partial.append(piece)
            self._grow(len(piece))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._max_event:
            raise ProtocolError(f"an event is larger than {self._max_event} bytes")

    def _line(self, line: bytes) -> Event | None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._grow(len(value))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self.last_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Event | None:
        data, name = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        if not data:
            return None
        return Event(b"\n".join(data), name or "message", self.last_id)


def event(data: bytes, *, name: str | None = None, event_id: str | None = None) -> bytes:
    """One event on the wire. JSON needs no line breaks, so they become spaces."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    if event_id is not None:
        head += b"id: " + event_id.encode() + b"\n"
    return head + b"data: " + one_line(data) + b"\n\n"


def priming(event_id: str, retry_ms: int) -> bytes:
    """An event without data: only the place to come back to, and when (2025-11-25, SEP-1699)."""
    return b"id: %s\nretry: %d\ndata: \n\n" % (event_id.encode(), retry_ms)


def one_line(payload: bytes) -> bytes:
    """JSON on one line: a line break in it can only be white space between tokens."""
    if b"\n" in payload or b"\r" in payload:
        return payload.replace(b"\r", b" ").replace(b"\n", b" ")
    return payload
