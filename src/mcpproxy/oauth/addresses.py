"""Where names lead, before a request that a server talked us into: no way into private networks.

Law: what was checked is what is connected to. The name is looked up once and its address pinned,
so that a second look-up cannot answer differently.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mcpproxy.core.outbound import is_loopback
from mcpproxy.oauth.endpoints import DEFAULT_PORTS, is_private

MAX_ADDRESSES: Final = 4
"""Addresses of one name that are tried in turn; the connect deadline bounds them together."""


class Forbidden(Exception):
    """A public server tried to lead us into a private network."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A URL whose host is an address; `host` and `authority` are what it was called."""

    url: str
    host: str
    authority: str


async def pin(url: str, on_behalf_of: str) -> tuple[Pinned, ...]:
    """The addresses that `url` may be reached at, in the resolver's order.

    Raises Forbidden, and OSError when the name leads nowhere.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    addresses = await _addresses(host, parts.port or DEFAULT_PORTS.get(parts.scheme, 443))
    private = [address for address in addresses if is_private(address)]
    if private and not await _is_private_server(on_behalf_of):
        raise Forbidden(f"{host} is in a private network, the server is not")
    return tuple(
        Pinned(
            url=parts._replace(netloc=_netloc(address, parts.port)).geturl(),
            host=host,
            authority=parts.netloc,
        )
        for address in addresses[:MAX_ADDRESSES]
    )


async def _is_private_server(url: str) -> bool:
    """Whether the configured server is itself on this machine or in a private network."""
    host = urlsplit(url).hostname or ""
    if is_loopback(host):
        return True
    try:
        addresses = await _addresses(host, 443)
    except OSError:
        return False
    return any(is_private(address) for address in addresses)


async def _addresses(host: str, port: int) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _netloc(address: str, port: int | None) -> str:
    host = f"[{address}]" if ":" in address else address
    return host if port is None else f"{host}:{port}"
