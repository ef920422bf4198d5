"""The addresses this machine would reach the world from.

Law: portable and silent. Connecting a datagram socket asks the system for its way and sends
nothing.
"""

import socket
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
