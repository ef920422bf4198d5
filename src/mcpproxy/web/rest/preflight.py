"""May a script go ahead with these servers and tools? Each gets a verdict and the reason for it.

Law: `judge` decides from facts and does nothing else; the worst verdict counts for all.
"""

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

from mcpproxy.core.approvals import Standing
from mcpproxy.core.causes import Level
from mcpproxy.core.control import Profile
from mcpproxy.core.errors import (
    LoginRequired,
    NotReady,
    UnknownProfile,
    UnknownServer,
    UsageError,
)
from mcpproxy.core.health import Health
from mcpproxy.web.parts import WebParts
from mcpproxy.web.rest.endpoint import Call, NoBody, NoQuery, get, post

READY: Final = 0
NOT_YET: Final = NotReady.exit_code
BLOCKED: Final = LoginRequired.exit_code
UNKNOWN: Final = UnknownServer.exit_code

_FOR_A_PERSON: Final = frozenset({"login", "enable", "approve", "set_secret", "configure"})
_APPROVE: Final = "waits for approval: mcpproxy tools approve"
_OF_TOOLS: Final = {
    Standing.OFFERED: (READY, "ready", ""),
    Standing.HELD_NEW: (BLOCKED, f"it is new and {_APPROVE}", "approve"),
    Standing.HELD_CHANGED: (BLOCKED, f"its definition changed and {_APPROVE}", "approve"),
    Standing.DISABLED: (BLOCKED, "it is switched off: mcpproxy tools enable", "enable"),
    Standing.HIDDEN: (BLOCKED, "its definition is one that no client could read", "view_logs"),
    Standing.ABSENT: (UNKNOWN, "the server has no tool of that name", ""),
    Standing.UNKNOWN: (NOT_YET, "the server has not said yet what it offers", ""),
}
"""What is to be said of a tool: exit code, reason, action."""


class Preflight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of servers, or of tools as `server:tool` or as clients see them; with a profile they
    must be in it, and without names all that it names is looked at.
    """

    names: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=320)]],
        msgspec.Meta(max_length=1000),
    ] = []
    profile: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] | None = None


class Verdict(msgspec.Struct, frozen=True):
    """0 ready, 10 not ready yet, 11 a person must act, 12 unknown; `action` as in health."""

    name: str
    server: str
    tool: str | None
    exit_code: int
    reason: str
    action: str


class Verdicts(msgspec.Struct, frozen=True):
    """`exit_code` is the worst of all."""

    exit_code: int
    verdicts: list[Verdict]


class ProfileItem(msgspec.Struct, frozen=True, kw_only=True):
    """A named subset; None where it does not narrow anything."""

    name: str
    path: str
    servers: list[str] | None
    allow: list[str] | None
    deny: list[str]
    max_tier: str | None
    routing_mode: str | None


class Profiles(msgspec.Struct, frozen=True):
    profiles: list[ProfileItem]


async def _preflight(call: Call[Preflight, NoQuery]) -> Verdicts:
    parts, names = call.parts, call.body.names
    profile = _profile(parts, call.body.profile)
    if profile is not None and not names:
        names = list(_named_by(profile, parts))
    elif not names:
        raise UsageError(
            "Nothing was named.", next_step="Name servers, tools (server:tool) or a profile."
        )
    verdicts = [judge(parts, name, profile) for name in dict.fromkeys(names)]
    return Verdicts(max((each.exit_code for each in verdicts), default=READY), verdicts)


def judge(parts: WebParts, name: str, profile: Profile | None = None) -> Verdict:
    """Whether this server or tool can be used now, and if not, why."""
    server, tool = _read(parts, name)
    upstream = parts.directory.upstreams().get(server)
    if upstream is None:
        return Verdict(name, server, tool, UNKNOWN, "there is no server of that name", "")
    standing = Standing.OFFERED if tool is None else parts.tools.standing(server, tool)
    outside = None if profile is None else _outside(parts, profile, server, tool, standing)
    if outside is not None:
        return Verdict(name, server, tool, BLOCKED, outside, "configure")
    code, reason, action = _verdict(parts.monitor.health(server), standing)
    return Verdict(name, server, tool, code, reason, action)


def _outside(
    parts: WebParts, profile: Profile, server: str, tool: str | None, standing: Standing
) -> str | None:
    """Why it is not there at this profile's endpoint, if the profile is why."""
    named = profile.has_server(server) if tool is None else profile.has_tool(server, tool)
    if not named:
        return f"it is not in the profile {profile.name}"
    is_there = tool is not None and standing is Standing.OFFERED
    if is_there and not parts.tools.passes(profile, server, tool or ""):
        return f"it may do more than max_tier of the profile {profile.name} allows"
    return None


def _verdict(health: Health, standing: Standing) -> tuple[int, str, str]:
    """What is decided about the tool itself holds whether its server is there or not."""
    code, reason, action = _OF_TOOLS[standing]
    if code in (BLOCKED, UNKNOWN):
        return code, reason, action
    shown = f"{health.level.value} ({health.line})"
    if health.status == "connected" and health.level is not Level.UNHEALTHY:
        return code, reason if standing is Standing.UNKNOWN else shown, ""
    blocked = health.action in _FOR_A_PERSON
    return BLOCKED if blocked else NOT_YET, shown, health.action


def _read(parts: WebParts, name: str) -> tuple[str, str | None]:
    """Server and tool of a name. A server's name has no colon, a tool's may have any."""
    server, colon, tool = name.partition(":")
    if colon:
        return server, tool
    if name in parts.directory.upstreams():
        return name, None
    known = parts.tools.owner_of(name)
    if known is not None:
        return known
    server, separator, tool = name.partition("__")
    return (server, tool) if separator else (name, None)


def _profile(parts: WebParts, name: str | None) -> Profile | None:
    if name is None:
        return None
    profile = parts.control().profiles.get(name)
    if profile is None:
        raise UnknownProfile(
            f"There is no profile named {name!r}.",
            next_step="`profiles` in the configuration has them.",
        )
    return profile


def _named_by(profile: Profile, parts: WebParts) -> Iterator[str]:
    """Its servers, also those that are not configured, and the tools it names in full."""
    known = parts.directory.upstreams()
    servers = filter(profile.has_server, known) if profile.servers is None else profile.servers
    yield from sorted(servers)
    yield from (pattern for pattern in profile.allow or () if "*" not in pattern)


async def _profiles(call: Call[NoBody, NoQuery]) -> Profiles:
    found = call.parts.control().profiles
    return Profiles([_profile_item(found[name]) for name in sorted(found)])


def _profile_item(profile: Profile) -> ProfileItem:
    return ProfileItem(
        name=profile.name,
        path=f"/mcp/p/{profile.name}",
        servers=None if profile.servers is None else sorted(profile.servers),
        allow=None if profile.allow is None else list(profile.allow),
        deny=list(profile.deny),
        max_tier=profile.max_tier and profile.max_tier.value,
        routing_mode=profile.routing_mode,
    )


ENDPOINTS: Final = (
    get("/api/v1/profiles", "The profiles, each with its endpoint", _profiles, Profiles, NoQuery),
    post("/api/v1/preflight", "May a script go ahead?", _preflight, Verdicts, Preflight),
)
