"""How remote upstreams are reached: which proxy, if any, and whose certificates are trusted.

Law: a configured proxy takes the environment's place; this machine is never reached through one.
"""

import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import truststore

from mcpproxy.core.model import Secret
from mcpproxy.core.outbound import is_direct


@dataclass(frozen=True, slots=True)
class Outbound:
    """`proxy` None leaves it to HTTPS_PROXY, NO_PROXY and their like. `ca_file` is trusted
    besides the system's authorities. The proxy's URL may hold a password.
    """

    proxy: Secret | None = None
    no_proxy: tuple[str, ...] = ()
    ca_file: Path | None = None

    def proxy_for(self, scheme: str, host: str) -> str | None:
        if is_direct(host, self.no_proxy):
            return None
        if self.proxy is not None:
            return self.proxy.reveal()
        proxies = urllib.request.getproxies()
        if not proxies or urllib.request.proxy_bypass(host):
            return None
        return proxies.get(scheme) or proxies.get("all")


FROM_ENVIRONMENT: Final = Outbound()


def ssl_context(outbound: Outbound) -> ssl.SSLContext:
    """The system's authorities, SSL_CERT_FILE's, and the configured ones. Raises OSError."""
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if outbound.ca_file is not None:
        context.load_verify_locations(cafile=outbound.ca_file)
    return context
