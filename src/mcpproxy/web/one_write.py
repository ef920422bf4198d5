"""An answer's head and body in one write: two would be two system calls, the dearest of a call.

Law: nothing waits for longer than this turn of the loop, and order is kept.
"""

import asyncio
from typing import Any


class OneWrite:
    """A transport around the real one; it holds the first bytes of a turn for those that follow."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._later: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        if self._later is None:
            self._held = data
            self._later = self._loop.call_soon(self.flush)
        else:
            self._held += data
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._later is None:
            return
        self._later.cancel()
        self._later = None
        # uvloop raises where asyncio only ignores what is written after the end.
        if not self._transport.is_closing():
            self._transport.write(self._held)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
