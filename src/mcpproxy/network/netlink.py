"""The Linux kernel's own news of links, addresses and routes, heard on the event loop (rtnetlink).

Law: listens, and asks once; never changes anything. Where it may not listen, nobody is told so by
an error: `listen` answers None and the watch looks by itself.
"""

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Callable
from typing import Final, Protocol

from mcpproxy.network.routes import NLMSG_HEADER, Told, Ways, messages

GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR and IPV6_ROUTE."""

RTM_GETLINK: Final = 18
RTM_GETROUTE: Final = 26
NLM_F_DUMP: Final = 0x1 | 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

LARGEST: Final = 65536
MAX_DUMP: Final = 64
"""Datagrams of an answer: some thousand routes. What is not read is news once, when it changes."""
DUMP_TIMEOUT_S: Final = 0.5
MAX_TURN: Final = 64
"""Datagrams that are read before others of the event loop have their turn."""

Hear = Callable[[Told], None]


class Listener(Protocol):
    """Somebody who listens until closed."""

    def close(self) -> None: ...


def listen(hear: Hear) -> Listener | None:
    """Tell `hear` what the kernel says from now on; None where that cannot be had."""
    if sys.platform != "linux":
        return None
    try:
        return _RouteSocket(hear)
    except (OSError, NotImplementedError):  # forbidden here, or a loop that cannot wait for it
        return None


class _RouteSocket:
    """Joins the groups first and asks for what is there afterwards, so that nothing is missed."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._socket = _open(GROUPS)
        try:
            self._socket.setblocking(False)
            self._ways = _ways_now()
            self._loop.add_reader(self._socket, self._read)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        told = Told.NOTHING
        for _ in range(MAX_TURN):
            try:
                data, sender = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    break
                told = max(told, self._begin_anew())
                continue
            if sender[0] == 0:  # the kernel, and nobody else
                told = max([told, *(self._ways.hear(message) for message in messages(data))])
        if told is not Told.NOTHING:
            self._hear(told)

    def _begin_anew(self) -> Told:
        """More was said than could be kept for us: compare what is there now."""
        try:
            now = _ways_now()
        except OSError:
            return Told.STIR
        told = Told.NEWS if now.has_more_than(self._ways) else Told.STIR
        self._ways = now
        return told


def _open(groups: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        opened.bind((0, groups))
    except BaseException:
        opened.close()
        raise
    return opened


def _ways_now() -> Ways:
    """Asked on a socket of its own; takes less than a millisecond."""
    ways = Ways()
    with _open(0) as asking:
        asking.settimeout(DUMP_TIMEOUT_S)
        for kind, family in (
            (RTM_GETLINK, socket.AF_UNSPEC),
            (RTM_GETROUTE, socket.AF_INET),
            (RTM_GETROUTE, socket.AF_INET6),
        ):
            _dump(asking, kind, family, ways)
    return ways


def _dump(asking: socket.socket, kind: int, family: int, ways: Ways) -> None:
    body = struct.pack("=B15x", family)  # as long as the longest of the headers that ask
    asking.send(NLMSG_HEADER.pack(NLMSG_HEADER.size + len(body), kind, NLM_F_DUMP, 1, 0) + body)
    for _ in range(MAX_DUMP):
        for message in messages(asking.recv(LARGEST)):
            if message.kind in (NLMSG_DONE, NLMSG_ERROR):
                return
            ways.hear(message)
