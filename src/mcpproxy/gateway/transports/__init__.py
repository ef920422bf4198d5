"""The ways to reach an upstream. One file and one line in TRANSPORTS add one."""

from collections.abc import Mapping
from typing import Final

from mcpproxy.core.model import Transport, Upstream
from mcpproxy.gateway.link import ModernOpener, Opener
from mcpproxy.gateway.transports.http import open_http
from mcpproxy.gateway.transports.modern_http import open_modern_http
from mcpproxy.gateway.transports.sse import open_sse
from mcpproxy.gateway.transports.stdio import open_stdio

TRANSPORTS: Final[Mapping[Transport, Opener]] = {
    Transport.HTTP: open_http,
    Transport.STREAMABLE_HTTP: open_http,
    Transport.SSE: open_sse,
    Transport.STDIO: open_stdio,
}

MODERN: Final[Mapping[Transport, ModernOpener]] = {
    Transport.HTTP: open_modern_http,
    Transport.STREAMABLE_HTTP: open_modern_http,
    Transport.STDIO: open_stdio,
}
"""Those that the stateless era has too."""


def candidates(upstream: Upstream) -> tuple[Transport, ...]:
    """The transports to try, in order. AUTO: a command is stdio, a URL speaks HTTP, then SSE."""
    if upstream.transport is not Transport.AUTO:
        return (upstream.transport,)
    if upstream.url is None:
        return (Transport.STDIO,)
    return (Transport.STREAMABLE_HTTP, Transport.SSE)
