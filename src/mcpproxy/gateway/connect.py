"""One attempt to connect an upstream: transports in order, the handshake, the list of tools.

Law: only HTTP 400, 404 and 405 are evidence against a transport. A login that is needed, a rate
limit, an outage or a broken network says nothing about it.
"""

from dataclasses import dataclass
from typing import Final

from mcpproxy.core.model import Transport
from mcpproxy.gateway.failures import LinkFailed, NotMcp
from mcpproxy.gateway.legacy_session import LegacySession
from mcpproxy.gateway.link import Site
from mcpproxy.gateway.offers import Listed, list_tools
from mcpproxy.gateway.session import Listener, Session
from mcpproxy.gateway.tools import Tool
from mcpproxy.gateway.transports import TRANSPORTS, candidates
from mcpproxy.gateway.wire.handshake import Agreed

_OTHER_TRANSPORT: Final = (400, 404, 405)


@dataclass(frozen=True, slots=True)
class Connected:
    """What a successful attempt leaves behind."""

    session: Session
    agreed: Agreed
    tools: Listed[Tool]
    transport: Transport


async def connect(site: Site, listener: Listener) -> Connected:
    """Raises LinkFailed, TokenUnavailable or ProtocolError; nothing is left open then."""
    failures: list[NotMcp] = []
    for transport in candidates(site.upstream):
        try:
            return await _over(transport, site, listener)
        except NotMcp as failure:
            if failure.status not in _OTHER_TRANSPORT:
                raise
            failures.append(failure)
    raise _no_transport(failures)


async def _over(transport: Transport, site: Site, listener: Listener) -> Connected:
    session = LegacySession(listener, site.limits)
    try:
        agreed = await session.begin(await TRANSPORTS[transport](site, session))
        tools = await list_tools(session.request, agreed, site.limits)
    except BaseException:
        await session.close()
        raise
    return Connected(session, agreed, tools, transport)


def _no_transport(failures: list[NotMcp]) -> LinkFailed:
    if len(failures) == 1:
        return failures[0]
    said = ", then over HTTP+SSE ".join(failure.message for failure in failures)
    return NotMcp(said, next_step=failures[0].next_step or "check the URL of the server")
