"""Messages as the Linux kernel writes them, for tests that have no kernel to change."""

import struct
from socket import AF_INET, inet_pton

from mcpproxy.network.routes import (
    ADDRESS,
    ATTRIBUTE,
    IFF_RUNNING,
    IFF_UP,
    LINK,
    NLMSG_HEADER,
    ROUTE,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PRIORITY,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTN_UNICAST,
    Message,
)

MAIN_TABLE = 254
WLAN = 3


def link(*, index: int = WLAN, up: bool = True, running: bool = True, family: int = 0) -> Message:
    flags = (IFF_UP if up else 0) | (IFF_RUNNING if running else 0)
    return Message(RTM_NEWLINK, 0, LINK.pack(family, 1, index, flags, 0))


def address(
    kind: int = RTM_NEWADDR, *, index: int = WLAN, scope: int = 0, family: int = AF_INET
) -> Message:
    return Message(kind, 0, ADDRESS.pack(family, 24, 0, scope, index))


def route(
    kind: int = RTM_NEWROUTE,
    *,
    via: str = "192.168.1.1",
    to: str | None = None,
    length: int = 0,
    link: int = WLAN,
    priority: int = 600,
    type_: int = RTN_UNICAST,
    flags: int = 0,
    route_flags: int = 0,
) -> Message:
    body = ROUTE.pack(AF_INET, length, 0, 0, MAIN_TABLE, 16, 0, type_, route_flags)
    body += attribute(RTA_GATEWAY, inet_pton(AF_INET, via))
    body += attribute(RTA_OIF, struct.pack("=I", link))
    body += attribute(RTA_PRIORITY, struct.pack("=I", priority))
    if to is not None:
        body += attribute(RTA_DST, inet_pton(AF_INET, to))
    return Message(kind, flags, body)


def attribute(kind: int, value: bytes) -> bytes:
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def datagram(*messages: Message) -> bytes:
    """The messages in one piece, each as long as the kernel aligns it."""
    data = b""
    for message in messages:
        length = NLMSG_HEADER.size + len(message.body)
        head = NLMSG_HEADER.pack(length, message.kind, message.flags, 0, 0)
        data += head + message.body + bytes(-length % 4)
    return data
