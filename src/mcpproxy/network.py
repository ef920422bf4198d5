"""Notices that the machine's way to the world changed: another Wi-Fi, a cable, a VPN.

Law: portable and silent. The address that the system would send from is asked for by connecting a
datagram socket, which sends nothing; when it changes to another one, the network is fresh.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

ELSEWHERE: Final = (
    (socket.AF_INET, ("192.0.2.1", 9)),
    (socket.AF_INET6, ("2001:db8::1", 9, 0, 0)),
)
"""Addresses for documentation (RFC 5737, RFC 3849): far away, and nobody's."""

Addresses = frozenset[str]


def local_addresses() -> Addresses:
    """The addresses we would reach the world from; empty without a network."""
    found: set[str] = set()
    for family, address in ELSEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            found.add(probe.getsockname()[0])
    return frozenset(found)


class NetworkWatch:
    """`look` often: whether there is a way to the world now that was not there before."""

    def __init__(self, addresses: Callable[[], Addresses] = local_addresses) -> None:
        self._addresses = addresses
        self._known = addresses()

    def look(self) -> bool:
        """Losing an address is no news to act on; gaining one is."""
        now = self._addresses()
        fresh = bool(now - self._known)
        self._known = now
        return fresh
