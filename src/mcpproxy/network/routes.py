"""What the Linux kernel tells of links, addresses and routes, and which of it is a new way out.

Law: pure, and bytes are not trusted: a message that makes no sense is no news. Only what can lead
to the world counts: a route to everywhere, or the carrier of a link that has one. A container's
interface, an address that went or a route that is announced again is none.

The layouts are those of `linux/rtnetlink.h`, `linux/netlink.h` and `linux/if.h`.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from socket import AF_INET, AF_INET6
from typing import Final

NLMSG_HEADER: Final = struct.Struct("=IHHII")
LINK: Final = struct.Struct("=BxHiII")
ADDRESS: Final = struct.Struct("=BBBBi")
ROUTE: Final = struct.Struct("=BBBBBBBBI")
ATTRIBUTE: Final = struct.Struct("=HH")
INTEGER: Final = struct.Struct("=I")

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
NLM_F_REPLACE: Final = 0x100

IFF_UP: Final = 0x1
IFF_RUNNING: Final = 0x40

RT_SCOPE_UNIVERSE: Final = 0
RTN_UNICAST: Final = 1
RTM_F_CLONED: Final = 0x200
RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PRIORITY: Final = 6
RTA_MULTIPATH: Final = 9
RTA_TABLE: Final = 15
RTA_VIA: Final = 18

AF_UNSPEC: Final = 0
WIDEST: Final = {AF_INET: 1, AF_INET6: 3}
"""The longest prefix that still means 'everywhere': VPNs halve 0.0.0.0/0, and take 2000::/3."""


class Told(IntEnum):
    """What a message means, the greater the more."""

    NOTHING = 0
    STIR = 1
    """Our own address may be another one now."""
    NEWS = 2
    """There is a way out that was not there before."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the kernel's."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Way:
    """A route to everywhere, with all that makes it another one."""

    place: tuple[int, int, int, bytes]
    """Family, table, priority and destination: of routes with the same one replaces another."""
    link: int
    gateway: tuple[bytes, ...]


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram; what is cut off or makes no sense ends them."""
    while len(data) >= NLMSG_HEADER.size:
        length, kind, flags, _, _ = NLMSG_HEADER.unpack_from(data)
        if not NLMSG_HEADER.size <= length <= len(data):
            return
        yield Message(kind, flags, data[NLMSG_HEADER.size : length])
        data = data[_aligned(length) :]


class Ways:
    """The ways out as far as the kernel told of them. `hear` everything it says."""

    def __init__(self) -> None:
        self._ways: set[Way] = set()
        self._silent: set[int] = set()

    def hear(self, message: Message) -> Told:
        """What is new by this message."""
        try:
            if message.kind in (RTM_NEWLINK, RTM_DELLINK):
                return self._link(message)
            if message.kind in (RTM_NEWADDR, RTM_DELADDR):
                return self._address(message)
            if message.kind in (RTM_NEWROUTE, RTM_DELROUTE):
                return self._route(message)
        except struct.error:
            pass
        return Told.NOTHING

    def has_more_than(self, before: "Ways") -> bool:
        """Whether there is a way out here that is not in `before`."""
        return bool(self._ways - before._ways)

    def _link(self, message: Message) -> Told:
        """The carrier comes and goes without a word about the routes that lie on it."""
        family, _, index, flags, _ = LINK.unpack_from(message.body)
        if family != AF_UNSPEC:  # a bridge's or IPv6's own view of a link
            return Told.NOTHING
        if message.kind == RTM_DELLINK or not flags & IFF_UP:
            self._silent.discard(index)
            return self._lost(index)
        if not flags & IFF_RUNNING:
            self._silent.add(index)
            return Told.STIR if self._leads_out(index) else Told.NOTHING
        if index not in self._silent:
            return Told.NOTHING
        self._silent.discard(index)
        return Told.NEWS if self._leads_out(index) else Told.NOTHING

    def _address(self, message: Message) -> Told:
        """Routes of an address that goes may go with it, unannounced."""
        family, _, _, scope, index = ADDRESS.unpack_from(message.body)
        if family not in WIDEST or scope != RT_SCOPE_UNIVERSE:
            return Told.NOTHING
        if message.kind == RTM_DELADDR:
            self._lost(index, family)
        return Told.STIR

    def _route(self, message: Message) -> Told:
        family, length, _, _, table, _, _, kind, flags = ROUTE.unpack_from(message.body)
        if family not in WIDEST or length > WIDEST[family]:
            return Told.NOTHING
        if kind != RTN_UNICAST or flags & RTM_F_CLONED:
            return Told.NOTHING
        way = _way(message.body, family, length, table)
        if message.kind == RTM_DELROUTE:
            self._ways.discard(way)
            return Told.STIR
        if way in self._ways:
            return Told.NOTHING
        if message.flags & NLM_F_REPLACE:
            self._ways = {each for each in self._ways if each.place != way.place}
        self._ways.add(way)
        return Told.NEWS

    def _lost(self, link: int, family: int | None = None) -> Told:
        left = {way for way in self._ways if way.link != link or family not in (None, way.place[0])}
        if len(left) == len(self._ways):
            return Told.NOTHING
        self._ways = left
        return Told.STIR

    def _leads_out(self, link: int) -> bool:
        return any(way.link == link for way in self._ways)


def _way(body: bytes, family: int, length: int, table: int) -> Way:
    found = _attributes(body[ROUTE.size :])
    to = bytes((length,)) + found.get(RTA_DST, b"").rstrip(b"\0")
    table, priority = _integer(found, RTA_TABLE, table), _integer(found, RTA_PRIORITY, 0)
    return Way(
        place=(family, table, priority, to),
        link=_integer(found, RTA_OIF, 0),
        gateway=tuple(found.get(kind, b"") for kind in (RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH)),
    )


def _attributes(data: bytes) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        if not ATTRIBUTE.size <= length <= len(data):
            break
        found[kind] = data[ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _integer(found: Mapping[int, bytes], kind: int, default: int) -> int:
    value = found.get(kind)
    return int(INTEGER.unpack(value)[0]) if value is not None else default


def _aligned(length: int) -> int:
    return (length + 3) & ~3
