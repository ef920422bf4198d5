"""Which hosts are reached without a proxy, for whoever makes connections.

Law: this machine is never reached through a proxy.
"""

import ipaddress
from collections.abc import Iterable


def is_loopback(host: str) -> bool:
    """Whether a host, as written in a URL, is this machine, without asking anybody."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_direct(host: str, no_proxy: Iterable[str]) -> bool:
    """Whether this host is ours, or one that the configuration takes from the proxy."""
    return is_loopback(host) or any(_matches(host, rule) for rule in no_proxy)


def _matches(host: str, rule: str) -> bool:
    """`*`, a name and all below it, an address, or a network such as 10.0.0.0/8."""
    rule = rule.strip().lower()
    if rule == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule.strip("[]"), strict=False)
    except ValueError:
        name = rule.removeprefix("*").removeprefix(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
