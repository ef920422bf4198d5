"""Which way a request goes out: straight, or through an outbound proxy.

Law: this machine is never reached through a proxy; a configured proxy takes the environment's
place, it is not added to it.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from mcpproxy.core.outbound import is_direct, is_loopback

PROXIES: Final = frozenset({"http", "https", "all"})
"""The kinds of environment variables (HTTPS_PROXY, ...) that the HTTP client honours."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The configured proxy and the hosts that are reached without it."""

    proxy: str | None = None
    no_proxy: tuple[str, ...] = ()

    def proxy_for(self, url: str) -> str | None:
        """The configured proxy, if it is for this URL."""
        return None if is_direct(_host(url), self.no_proxy) else self.proxy

    def asks_environment(self, url: str) -> bool:
        """Whether HTTPS_PROXY and its like decide about this URL."""
        return self.proxy is None and not is_loopback(_host(url))

    def is_proxied(self, url: str) -> bool:
        """Whether somebody else may connect for us."""
        if self.asks_environment(url):
            return not PROXIES.isdisjoint(getproxies())
        return self.proxy_for(url) is not None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
