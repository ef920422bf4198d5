"""One attempt to connect an upstream: its era, its transport, the handshake, the list of tools.

Law: only what a server said is evidence: a JSON-RPC answer, or HTTP 400, 404 and 405. A login that
is needed, a rate limit, an outage, silence or a broken network says nothing about it.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mcpproxy.core.errors import McpproxyError, ProtocolError
from mcpproxy.core.model import Transport
from mcpproxy.gateway.eras import EraMemory, Learned, Spoken
from mcpproxy.gateway.failures import (
    Broken,
    Busy,
    CommandFailed,
    LinkFailed,
    NotMcp,
    OtherRevision,
    silent,
)
from mcpproxy.gateway.legacy_session import LegacySession
from mcpproxy.gateway.link import Site
from mcpproxy.gateway.modern_session import ModernSession
from mcpproxy.gateway.offers import Listed, list_tools
from mcpproxy.gateway.session import Listener, Session
from mcpproxy.gateway.tools import Tool
from mcpproxy.gateway.transports import MODERN, TRANSPORTS, candidates
from mcpproxy.gateway.wire.discovery import DISCOVER
from mcpproxy.gateway.wire.handshake import Agreed

_OTHER_TRANSPORT: Final = (400, 404, 405)
# A server may trip over a method that it does not know. It is no evidence, so nothing is learned
# of it, but asking on is better than never connecting such a server.
_TRIPPED: Final = (500, 501)


@dataclass(frozen=True, slots=True)
class Connected:
    """What a successful attempt leaves behind."""

    session: Session
    agreed: Agreed
    tools: Listed[Tool]
    transport: Transport


@dataclass(frozen=True, slots=True)
class _Made:
    session: Session
    agreed: Agreed
    transport: Transport


@dataclass(frozen=True, slots=True)
class _Older:
    """An attempt in the stateless era led on to the older one: by what the server said, or because
    it said nothing, which `unclear` tells.
    """

    unclear: LinkFailed | None = None

    def refused(self, failure: McpproxyError) -> McpproxyError:
        """Why there is no connection now that the older era was refused."""
        return failure if self.unclear is None else self.unclear


async def connect(site: Site, listener: Listener, memory: EraMemory) -> Connected:
    """Raises LinkFailed, TokenUnavailable or ProtocolError; nothing is left open then."""
    made = await _connect(site, listener, memory)
    try:
        tools = await list_tools(made.session.request, made.agreed, site.limits)
    except BaseException:
        await made.session.close()
        raise
    return Connected(made.session, made.agreed, tools, made.transport)


async def _connect(site: Site, listener: Listener, memory: EraMemory) -> _Made:
    learned = await memory.recall()
    if learned is not None and learned.spoken is Spoken.LEGACY:
        try:
            return await _legacy(site, listener, learned.transport)
        except (NotMcp, ProtocolError):
            learned = None  # it may be another server by now: everything is asked anew
    if candidates(site.upstream)[0] is Transport.STDIO:
        return await _over_stdio(site, listener, memory, learned)
    return await _over_http(site, listener, memory)


async def _over_http(site: Site, listener: Listener, memory: EraMemory) -> _Made:
    """The stateless era, then the handshake, then the handshake over HTTP+SSE."""
    failures: list[NotMcp] = []
    asked = _Older()
    for transport in candidates(site.upstream):
        found: _Made | _Older = _Older()
        if transport in MODERN:
            found = await _discovered(site, listener, transport, site.limits.discover_timeout)
        if isinstance(found, _Made):
            await memory.learn(Spoken.MODERN, transport)
            return found
        asked = found if found.unclear is not None else asked
        try:
            made = await _legacy(site, listener, transport)
        except NotMcp as failure:
            if failure.status not in _OTHER_TRANSPORT:
                raise
            failures.append(failure)
            continue
        except ProtocolError as failure:
            raise asked.refused(failure) from failure
        if found.unclear is None:
            await memory.learn(Spoken.LEGACY, transport)
        return made
    raise asked.refused(_no_transport(failures))


async def _over_stdio(
    site: Site, listener: Listener, memory: EraMemory, learned: Learned | None
) -> _Made:
    """The handshake, then the stateless era: a process decides for good by its first request, and
    what is written for both asks its clients back in the older one only.
    """
    patience = site.limits.connect_timeout / 2  # a process may be slow to start, every time
    if learned is not None:
        found = await _discovered(site, listener, Transport.STDIO, patience)
        if isinstance(found, _Made):
            return found
    try:
        made = await _legacy(site, listener, Transport.STDIO)
    except ProtocolError as refusal:
        found = await _discovered(site, listener, Transport.STDIO, patience)
        if isinstance(found, _Older):
            raise found.refused(refusal) from refusal
        await memory.learn(Spoken.MODERN, Transport.STDIO)
        return found
    if learned is not None:
        await memory.learn(Spoken.LEGACY, Transport.STDIO)
    return made


async def _discovered(
    site: Site, listener: Listener, transport: Transport, patience: timedelta
) -> "_Made | _Older":
    """A connection in the stateless era, or that the older one is to be tried."""
    session = ModernSession(listener, site.limits, site.log)
    try:
        async with asyncio.timeout(patience.total_seconds()):
            agreed = await session.begin(await MODERN[transport](site, session))
        if agreed is not None:
            return _Made(session, agreed, transport)
    except BaseException as failure:
        await session.close()
        if (found := _verdict(failure, silent(site.upstream, patience, DISCOVER))) is None:
            raise
        return found
    await session.close()
    return _Older()


def _verdict(failure: BaseException, silence: LinkFailed) -> _Older | None:
    """None: there is no point in trying the older era, or no evidence for it."""
    match failure:
        case OtherRevision():
            return None
        case NotMcp() | ProtocolError() | CommandFailed():
            return _Older()
        case TimeoutError():
            return _Older(silence)
        case Broken():
            return _Older(failure)
        case Busy() if failure.status in _TRIPPED:
            return _Older(failure)
        case _:
            return None


async def _legacy(site: Site, listener: Listener, transport: Transport) -> _Made:
    session = LegacySession(listener, site.limits)
    try:
        agreed = await session.begin(await TRANSPORTS[transport](site, session))
    except BaseException:
        await session.close()
        raise
    return _Made(session, agreed, transport)


def _no_transport(failures: list[NotMcp]) -> LinkFailed:
    if len(failures) == 1:
        return failures[0]
    said = ", then over HTTP+SSE ".join(failure.message for failure in failures)
    return NotMcp(said, next_step=failures[0].next_step or "check the URL of the server")
