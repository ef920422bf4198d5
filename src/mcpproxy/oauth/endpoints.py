"""Which URLs a login may use: what a server says about itself is hostile until it is checked.

Law: https, or http on this machine when the configured server is on it too; never userinfo, a
fragment or an odd character. Where names lead is `client`'s to check, when it connects.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mcpproxy.core.errors import DiscoveryFailed
from mcpproxy.core.outbound import is_loopback
from mcpproxy.core.text import escape_unsafe, shorten

MAX_URL: Final = 2048
PLAIN: Final = re.compile(r"[\x21-\x7e]+")
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
ASK_OPERATOR: Final = "Tell the people who run this server; its OAuth metadata is wrong."


def check_endpoint(value: object, what: str, server_url: str) -> str:
    """The URL, when it may be used. Raises DiscoveryFailed, naming `what` and the rule."""
    shown = shorten(escape_unsafe(str(value)), 100)
    problem = _problem(value, server_url)
    if problem is None:
        return str(value)
    raise DiscoveryFailed(f"The {what} '{shown}' {problem}.", next_step=ASK_OPERATOR)


def is_private(address: str) -> bool:
    """Whether an IP address belongs to no public network: private, loopback, link-local, ..."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    ip = mapped or ip
    return not ip.is_global or ip.is_multicast


def origin_of(url: str) -> str:
    """Scheme, host and port, the way two of them can be compared."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    port = parts.port
    scheme = parts.scheme.lower()
    suffix = "" if port is None or port == DEFAULT_PORTS.get(scheme) else f":{port}"
    return f"{scheme}://{shown}{suffix}"


def canonical_resource(url: str) -> str:
    """The resource identifier of a server (RFC 8707, MCP "Canonical Server URI")."""
    parts = urlsplit(url)
    path = "" if parts.path == "/" else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return f"{origin_of(url)}{path}{query}"


def covers(resource: str, server_url: str) -> bool:
    """Whether a resource identifier speaks for this server: itself or a parent of it."""
    try:
        if origin_of(resource) != origin_of(server_url):
            return False
    except ValueError:
        return False
    parent = urlsplit(resource).path.rstrip("/")
    path = urlsplit(server_url).path.rstrip("/")
    return path == parent or path.startswith(f"{parent}/")


def same_issuer(one: str, other: str) -> bool:
    """RFC 8414 compares exactly; a bare origin with and without its slash is one name."""
    return one == other or (one.rstrip("/") == other.rstrip("/") and _is_bare(one))


def _is_bare(url: str) -> bool:
    parts = urlsplit(url)
    return parts.path in ("", "/") and not parts.query


def _problem(value: object, server_url: str) -> str | None:
    if not isinstance(value, str) or not value:
        return "is missing or not a text"
    if len(value) > MAX_URL or not PLAIN.fullmatch(value):
        return "is too long or has characters that no URL has"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if not host:
        return "is not an absolute URL"
    if parts.username is not None or parts.password is not None:
        return "has a user name in it"
    if "#" in value:
        return "has a fragment"
    return _scheme_problem(parts, host, server_url)


def _scheme_problem(parts: SplitResult, host: str, server_url: str) -> str | None:
    if parts.scheme == "https":
        return None
    if parts.scheme != "http":
        return "is not an https URL"
    if not is_loopback(host):
        return "is not https, and only this machine may be reached without"
    if not is_loopback(urlsplit(server_url).hostname or ""):
        return "leads to this machine, and the server is not on it"
    return None
