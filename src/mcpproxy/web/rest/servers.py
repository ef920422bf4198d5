"""Servers: list, add, remove, and everything that is done to one of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

import msgspec
from starlette.responses import Response, StreamingResponse

from mcpproxy.core.errors import StoreError, UnknownServer
from mcpproxy.core.ledger import MAX_LEDGER
from mcpproxy.core.model import Transport, Upstream
from mcpproxy.web.explain import Explanation, Told, explain
from mcpproxy.web.items import (
    OAuthItem,
    ServerItem,
    ServerStats,
    login_item,
    oauth_item,
    server_item,
    server_stats,
)
from mcpproxy.web.ledger import Ledger, ledger_items
from mcpproxy.web.parts import NewServer, WebParts
from mcpproxy.web.rest.endpoint import Call, Endpoint, NoBody, NoQuery, get, post

MAX_TAIL: Final = 1000

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]


class KeptLogin(msgspec.Struct, frozen=True):
    """A login that is kept alive although no server of its name is configured any more."""

    server: str
    oauth: OAuthItem


class Servers(msgspec.Struct, frozen=True):
    servers: list[ServerItem]
    stats: ServerStats
    kept_logins: list[KeptLogin]


class AddOAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What cannot be discovered about a server's login."""

    client_id: str | None = None
    client_secret: str | None = None
    scopes: list[str] = []
    redirect_uri: str | None = None


class AddServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server, with the names the configuration file uses. One of url and command is set."""

    name: Name
    url: str | None = None
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    working_dir: str | None = None
    protocol: Transport = Transport.AUTO
    enabled: bool = True
    quarantined: bool | None = None
    oauth: AddOAuth | None = None


class Done(msgspec.Struct, frozen=True):
    """What was done to which server; `note` says what else a person should know."""

    server: str
    action: str
    note: str | None = None


class LogTail(msgspec.Struct, frozen=True):
    server: str
    lines: list[str]


class LogQuery(msgspec.Struct, frozen=True):
    tail: Annotated[int, msgspec.Meta(ge=0, le=MAX_TAIL)] = 50
    follow: bool = False


class LedgerQuery(msgspec.Struct, frozen=True):
    """How many lines, counted from the newest."""

    limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_LEDGER)] = MAX_LEDGER


class Refreshed(msgspec.Struct, frozen=True):
    server: str
    oauth: OAuthItem | None


def find(parts: WebParts, name: str) -> Upstream:
    """The upstream of that name. Raises UnknownServer."""
    upstream = parts.directory.upstreams().get(name)
    if upstream is None:
        raise UnknownServer(
            f"There is no server named {name!r}.",
            next_step="`mcpproxy upstream list` shows the names.",
        )
    return upstream


def items(parts: WebParts) -> list[ServerItem]:
    """All servers, sorted by name."""
    upstreams = parts.directory.upstreams()
    return [_item(parts, upstreams[name]) for name in sorted(upstreams)]


def kept_logins(parts: WebParts) -> list[KeptLogin]:
    """The logins of servers that are not configured, sorted by name."""
    upstreams, now = parts.directory.upstreams(), parts.clock.now()
    return [
        KeptLogin(grant.server, login_item(grant, now, parts.policy))
        for grant in sorted(parts.grants.grants(), key=lambda each: each.server)
        if grant.server not in upstreams
    ]


def _item(parts: WebParts, upstream: Upstream) -> ServerItem:
    name = upstream.name
    return server_item(
        upstream,
        parts.monitor.health(name),
        parts.connections.connection(name),
        parts.grants.grant(name),
        parts.clock.now(),
        parts.policy,
    )


async def _list(call: Call[NoBody, NoQuery]) -> Servers:
    found = items(call.parts)
    return Servers(found, server_stats(found), kept_logins(call.parts))


async def _inspect(call: Call[NoBody, NoQuery]) -> ServerItem:
    return _item(call.parts, find(call.parts, call.name))


async def _add(call: Call[AddServer, NoQuery]) -> Done:
    body, oauth = call.body, call.body.oauth or AddOAuth()
    await call.parts.editor.add(
        NewServer(
            name=body.name,
            url=body.url,
            command=body.command,
            args=tuple(body.args),
            env=body.env,
            headers=body.headers,
            working_dir=body.working_dir,
            protocol=body.protocol,
            enabled=body.enabled,
            quarantined=body.quarantined,
            client_id=oauth.client_id,
            client_secret=oauth.client_secret,
            scopes=tuple(oauth.scopes),
            redirect_uri=oauth.redirect_uri,
        )
    )
    held = call.parts.directory.upstreams().get(body.name)
    waits = held is not None and held.quarantined
    note = f"It waits for approval: mcpproxy upstream approve {body.name}" if waits else None
    return Done(body.name, "add", note)


async def _remove(call: Call[NoBody, NoQuery]) -> Done:
    find(call.parts, call.name)
    await call.parts.editor.remove(call.name)
    kept = call.parts.grants.grant(call.name) is not None
    note = f"Its login is kept; `mcpproxy auth logout {call.name}` forgets it." if kept else None
    return Done(call.name, "remove", note)


async def _enable(call: Call[NoBody, NoQuery]) -> Done:
    find(call.parts, call.name)
    await call.parts.editor.enable(call.name)
    return Done(call.name, "enable")


async def _disable(call: Call[NoBody, NoQuery]) -> Done:
    find(call.parts, call.name)
    await call.parts.editor.disable(call.name)
    return Done(call.name, "disable")


async def _approve(call: Call[NoBody, NoQuery]) -> Done:
    find(call.parts, call.name)
    await call.parts.editor.approve(call.name)
    return Done(call.name, "approve")


async def _quarantine(call: Call[NoBody, NoQuery]) -> Done:
    find(call.parts, call.name)
    await call.parts.editor.quarantine(call.name)
    return Done(call.name, "quarantine")


async def _restart(call: Call[NoBody, NoQuery]) -> Done:
    find(call.parts, call.name)
    await call.parts.gateway.restart(call.name)
    return Done(call.name, "restart")


async def _refresh(call: Call[NoBody, NoQuery]) -> Refreshed:
    upstream = find(call.parts, call.name)
    grant = await call.parts.refresh.refresh_now(call.name)
    item = oauth_item(upstream, grant, call.parts.clock.now(), call.parts.policy)
    return Refreshed(call.name, item)


async def _logout(call: Call[NoBody, NoQuery]) -> Done:
    """What is stored is asked for even when nothing is in memory: it may be locked or damaged."""
    known = call.parts.grants.grant(call.name) is not None
    if not known:
        find(call.parts, call.name)
    complaint = await call.parts.logins.logout(call.name)
    note: str | None = None if known else "There was no login to forget."
    if complaint:
        note = f"Forgotten here, but the provider did not confirm: {complaint}"
    return Done(call.name, "logout", note)


async def _explain(call: Call[NoBody, LedgerQuery]) -> Explanation:
    parts = call.parts
    upstream = find(parts, call.name)
    try:
        told = Told(await parts.ledger.load_ledger(call.name, call.query.limit))
    except StoreError as error:
        told = Told(trouble=error.message)
    return explain(
        upstream,
        parts.monitor.health(call.name),
        parts.connections.connection(call.name),
        parts.grants.grant(call.name),
        parts.clock.now(),
        parts.policy,
        told=told,
    )


async def _ledger(call: Call[NoBody, LedgerQuery]) -> Ledger:
    """A login outlives its server, and the ledger outlives both."""
    lines = await call.parts.ledger.load_ledger(call.name, call.query.limit)
    if not lines and call.parts.grants.grant(call.name) is None:
        find(call.parts, call.name)
    return Ledger(server=call.name, lines=ledger_items(lines))


async def _logs(call: Call[NoBody, LogQuery]) -> LogTail | Response:
    find(call.parts, call.name)
    tail = list(call.parts.logs.tail(call.name, call.query.tail))
    if not call.query.follow:
        return LogTail(call.name, tail)
    lines = _followed(call.parts, call.name, tail)
    return StreamingResponse(lines, media_type="text/plain; charset=utf-8")


async def _followed(parts: WebParts, name: str, tail: list[str]) -> AsyncIterator[str]:
    """The tail, then every new line; ends when the server stops."""
    yield "".join(f"{line}\n" for line in tail)
    follow = parts.logs.follow(name)
    closing = asyncio.create_task(parts.closing.wait())
    line: asyncio.Task[str] | None = None
    try:
        while True:
            line = asyncio.create_task(_next(follow))
            await asyncio.wait({line, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not line.done():
                return
            yield f"{line.result()}\n"
    finally:
        closing.cancel()
        if line is not None:
            line.cancel()


async def _next(lines: AsyncIterator[str]) -> str:
    return await anext(lines)


_ONE: Final = "/api/v1/servers/{name}"

ENDPOINTS: Final = (
    get("/api/v1/servers", "List the servers with their health", _list, Servers, NoQuery),
    post("/api/v1/servers", "Add a server", _add, Done, AddServer, status=201),
    get(_ONE, "One server", _inspect, ServerItem, NoQuery),
    Endpoint("DELETE", _ONE, "Remove a server; its login is kept", _remove, Done, NoBody, NoQuery),
    post(f"{_ONE}/logout", "Revoke and forget the login", _logout, Done, NoBody),
    post(f"{_ONE}/restart", "Connect anew", _restart, Done, NoBody),
    post(f"{_ONE}/enable", "Switch the server on", _enable, Done, NoBody),
    post(f"{_ONE}/disable", "Switch the server off", _disable, Done, NoBody),
    post(f"{_ONE}/approve", "End the quarantine", _approve, Done, NoBody),
    post(f"{_ONE}/quarantine", "Offer nothing of it until approved", _quarantine, Done, NoBody),
    post(f"{_ONE}/refresh", "Refresh the token now", _refresh, Refreshed, NoBody),
    get(f"{_ONE}/logs", "The server's log; follow=true streams text", _logs, LogTail, LogQuery),
    get(
        f"{_ONE}/explain",
        "Why the server is as it is, with the last `limit` lines of its ledger",
        _explain,
        Explanation,
        LedgerQuery,
    ),
    get(
        f"{_ONE}/ledger",
        "What happened to its login: the last `limit` lines, the oldest of them first",
        _ledger,
        Ledger,
        LedgerQuery,
    ),
)
