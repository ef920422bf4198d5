"""What a person decided about tools and calls: which there are, which wait, how many at once.

Law: data and pure decisions. A pattern is a name in which `*` stands for anything; it matches the
whole name, in the case it is written in. What is disabled or denied wins.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final


class ToolApproval(StrEnum):
    """Which definitions wait for a person before they are offered."""

    OFF = "off"
    CHANGED = "changed"
    """A tool that is known under another definition; the first one seen is trusted."""
    ALL = "all"
    """New tools too, those of a new server among them."""


class Tier(StrEnum):
    """The strongest effect that a profile lets through."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many calls go at once (0: any number), how many wait beside them, and for how long."""

    at_once: int
    waiting: int
    patience: timedelta


# One agent rarely has more than ten calls under way; this is for forty of them at one server.
SERVER_BOUNDS: Final = Bounds(at_once=256, waiting=1024, patience=timedelta(seconds=30))
# Four servers at their bound: a slow one must not take the places of all others.
ALL_BOUNDS: Final = Bounds(at_once=1024, waiting=4096, patience=timedelta(seconds=30))


@dataclass(frozen=True, slots=True)
class ServerControl:
    """What is decided about one server. `enabled_tools` None: all. A timeout None is the gateway's;
    of `tool_timeouts`, by pattern, the first that matches counts.
    """

    enabled_tools: tuple[str, ...] | None = None
    disabled_tools: tuple[str, ...] = ()
    approval: ToolApproval = ToolApproval.CHANGED
    bounds: Bounds = SERVER_BOUNDS
    call_timeout: timedelta | None = None
    tool_timeouts: tuple[tuple[str, timedelta], ...] = ()

    def allows(self, tool: str) -> bool:
        """Whether the tool is switched on."""
        if self.enabled_tools is not None and not matches(self.enabled_tools, tool):
            return False
        return not (self.disabled_tools and matches(self.disabled_tools, tool))

    def timeout(self, tool: str) -> timedelta | None:
        for pattern, limit in self.tool_timeouts:
            if matches((pattern,), tool):
                return limit
        return self.call_timeout


@dataclass(frozen=True, slots=True)
class Profile:
    """A named subset. `servers` None: all, or those that `allow` names; none of them: nothing.
    `allow` and `deny` are patterns of `server:tool`; `allow` None: all of its servers' tools.
    """

    name: str
    servers: frozenset[str] | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    max_tier: Tier | None = None
    routing_mode: str | None = None

    def has_server(self, server: str) -> bool:
        if self.servers is not None:
            return server in self.servers
        # Who names some tools and no servers means those of these tools.
        return self.allow is None or matches(_heads(self.allow), server)

    def has_tool(self, server: str, tool: str) -> bool:
        if not self.has_server(server):
            return False
        name = f"{server}:{tool}"
        if self.allow is not None and not matches(self.allow, name):
            return False
        return not (self.deny and matches(self.deny, name))


class Arguments(StrEnum):
    """Whether what is told of a call has its arguments in it."""

    LEFT_OUT = "left_out"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Control:
    """All of it, as it is configured now. `others` holds for servers that say nothing."""

    servers: Mapping[str, ServerControl] = field(default_factory=dict)
    others: ServerControl = field(default_factory=ServerControl)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    bounds: Bounds = ALL_BOUNDS
    arguments: Arguments = Arguments.LEFT_OUT

    def of(self, server: str) -> ServerControl:
        return self.servers.get(server, self.others)


def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the patterns is the name's."""
    return _compiled(patterns).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _heads(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The servers' part of patterns of `server:tool`."""
    return tuple(pattern.partition(":")[0] for pattern in patterns)


@lru_cache(maxsize=4096)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_translated, patterns)) or r"(?!)", re.DOTALL)


def _translated(pattern: str) -> str:
    """Each part between stars is taken where it first fits: no pattern makes a mismatch slow."""
    first, *rest = (re.escape(part) for part in pattern.split("*"))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + f".*{last}"
