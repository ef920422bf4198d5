"""Connections as they are accepted: who is at the other end, and whether it ever asks something.

Law: through the Unix socket only this user (and root) gets in; a peer that cannot be told is
closed. So is a connection whose request's head does not end in time or in its bounds, and one too
many: nobody has shown a key yet.
"""

import asyncio
import os
import socket
import struct
import sys
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcpproxy.web.guard import UNIX_PEER
from mcpproxy.web.one_write import OneWrite

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's head, give or take the read in which it begins; clients send about one."""
MAX_CONNECTIONS: Final = 512
"""Of all listeners together: half of the 1024 files that a process may have open by default."""

_LOCAL_PEERCRED = 1  # macOS: getsockopt(SOL_LOCAL, LOCAL_PEERCRED) gives a struct xucred
_SOL_LOCAL = 0


class PeerCheckedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that marks peers of the Unix socket once their uid is checked."""

    head_timeout: ClassVar[float] = 10.0
    """Seconds from the connection, or a request's first byte, to the end of its head."""

    max_connections: ClassVar[int] = MAX_CONNECTIONS

    _waiting: asyncio.TimerHandle | None = None
    _head: int = 0
    _in_head: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]
        self.access_log = False
        self._await_head()
        peer = transport.get_extra_info("socket")
        if peer is None or peer.family != getattr(socket, "AF_UNIX", None):
            # Commands of this user still get in when others have taken all places.
            if len(self.connections) > self.max_connections:
                transport.abort()
            return
        uid = peer_uid(peer)
        if uid is None or uid not in (os.getuid(), 0):
            transport.abort()
            return
        self.client = (UNIX_PEER, uid)

    @property
    def is_local(self) -> bool:
        """Whether it came through the Unix socket, where nobody shows a key."""
        return self.client is not None and self.client[0] == UNIX_PEER

    def data_received(self, data: bytes) -> None:
        waited = self._waiting
        super().data_received(data)
        if self._waiting is None:
            if self._in_head:  # most heads end in the read in which they begin, without a timer
                self._await_head()
        # Each head has a timer of its own: the same one says that all of this belongs to one.
        elif self._waiting is waited:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        self._stop_waiting()
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head = 0
        self._waiting = self.loop.call_later(self.head_timeout, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def peer_uid(peer: socket.socket) -> int | None:
    """The uid of the process that connected; None when the system does not tell."""
    # uvloop and asyncio hand out a wrapper without getsockopt on some platforms.
    try:
        if sys.platform == "linux":
            raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            _, uid, _ = struct.unpack("3i", raw)
            return int(uid)
        if sys.platform == "darwin":
            raw = peer.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
            return int(struct.unpack_from("=II", raw)[1])
    except (OSError, AttributeError, struct.error):
        return None
    return None
