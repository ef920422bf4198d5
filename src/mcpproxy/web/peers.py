"""Connections as they are accepted: who is at the other end, and whether it ever asks something.

Law: through the Unix socket only this user (and root) gets in; a peer that cannot be told is
closed. A connection that does not finish the head of a request in time is closed too.
"""

import asyncio
import os
import socket
import struct
import sys
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcpproxy.web.guard import UNIX_PEER

_LOCAL_PEERCRED = 1  # macOS: getsockopt(SOL_LOCAL, LOCAL_PEERCRED) gives a struct xucred
_SOL_LOCAL = 0


class PeerCheckedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that marks peers of the Unix socket once their uid is checked."""

    head_timeout: ClassVar[float] = 10.0
    """Seconds from the connection, or a request's first byte, to the end of its head."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.access_log = False
        self._await_head()
        peer = transport.get_extra_info("socket")
        if peer is None or peer.family != getattr(socket, "AF_UNIX", None):
            return
        uid = peer_uid(peer)
        if uid is None or uid not in (os.getuid(), 0):
            transport.abort()
            return
        self.client = (UNIX_PEER, uid)

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
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
