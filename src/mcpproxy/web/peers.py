"""Who is at the other end of the Unix socket.

Law: only this user (and root) gets in; a connection whose peer cannot be told is closed.
"""

import asyncio
import os
import socket
import struct
import sys

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcpproxy.web.guard import UNIX_PEER

_LOCAL_PEERCRED = 1  # macOS: getsockopt(SOL_LOCAL, LOCAL_PEERCRED) gives a struct xucred
_SOL_LOCAL = 0


class PeerCheckedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that marks peers of the Unix socket once their uid is checked."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.access_log = False
        peer = transport.get_extra_info("socket")
        if peer is None or peer.family != getattr(socket, "AF_UNIX", None):
            return
        uid = peer_uid(peer)
        if uid is None or uid not in (os.getuid(), 0):
            transport.abort()
            return
        self.client = (UNIX_PEER, uid)


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
