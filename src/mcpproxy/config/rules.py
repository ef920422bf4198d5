"""What a value must be, where a type does not say it: names, URLs, addresses.

Law: a refusal says what was found (never a secret), what is allowed and, where one is near, a
spelling that would do. Pure.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
NAME_RULE: Final = "lower-case letters, digits, - and _, starting with a letter or digit, up to 63"

MAX_PATTERN: Final = 320
"""A tool's name has up to 256 characters, its server's up to 63."""

_PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".lan", ".internal", ".home.arpa", ".test")

RESERVED_PARAMETERS: Final = frozenset(
    {
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "grant_type",
        "redirect_uri",
        "refresh_token",
        "response_type",
        "state",
    }
)


def check_name(name: str) -> str:
    """Raises ValueError with a legal spelling."""
    if NAME.fullmatch(name):
        return name
    spelling = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:63]
    advice = f'; try "{spelling}"' if NAME.fullmatch(spelling) else ""
    raise ValueError(f"{NAME_RULE}{advice}")


def check_patterns(patterns: list[str]) -> list[str]:
    """Names of tools, with `*` for anything. Raises ValueError."""
    for pattern in patterns:
        if not 0 < len(pattern) <= MAX_PATTERN or pattern != pattern.strip():
            raise ValueError(
                f"names of tools, with * for anything, of 1 to {MAX_PATTERN} characters"
            )
    return patterns


def check_profile_patterns(patterns: list[str]) -> list[str]:
    """As `check_patterns`, each with its server: `server:tool`."""
    for pattern in check_patterns(patterns):
        server, colon, tool = pattern.partition(":")
        if not (server and colon and tool):
            raise ValueError("server:tool, with * for anything, such as github:get_*")
    return patterns


def check_url(url: str) -> SplitResult:
    """An http or https URL with a host and without a login in it. Raises ValueError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("a URL such as https://mcp.example.com/mcp") from None
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("a URL without blanks")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL that starts with https:// (or http://) and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError('a URL without user and password in it: use "headers" for credentials')
    return parts


def check_redirect_uri(uri: str) -> str:
    """One that a login can be told to return to (RFC 8252, section 7). Raises ValueError."""
    allowed = "http://127.0.0.1:PORT/PATH with a port from 1 to 65535, or an https:// URL"
    try:
        parts = check_url(uri)
    except ValueError:
        raise ValueError(allowed) from None
    if parts.scheme == "http" and not (parts.port and is_loopback(parts.hostname or "")):
        raise ValueError(allowed)
    return uri


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_near(host: str) -> bool:
    """Whether plain http to this host stays on this machine or in a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith(_PRIVATE_SUFFIXES)
    return address.is_loopback or address.is_private or address.is_link_local


def check_extra_params(params: dict[str, str]) -> dict[str, str]:
    taken = sorted(RESERVED_PARAMETERS & params.keys())
    if taken:
        raise ValueError(f"parameters other than {', '.join(taken)}: the login sets those itself")
    return params
