"""Who may call what: the one decision, for listing and for calling alike.

Law: callable if and only if listed. Deny wins; what is disabled or quarantined is not there.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from mcpproxy.core.control import Profile, Tier
from mcpproxy.core.model import Upstream
from mcpproxy.gateway.tools import Effect, Tool


class Permit(StrEnum):
    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"
    ADMIN = "admin"


EVERYTHING: Final = frozenset(Permit)
_NEEDED: Final = {
    Effect.READ: Permit.READ,
    Effect.WRITE: Permit.WRITE,
    Effect.DESTRUCTIVE: Permit.DESTRUCTIVE,
}


_WITHIN: Final = {
    Tier.READ: frozenset({Permit.READ}),
    Tier.WRITE: frozenset({Permit.READ, Permit.WRITE}),
    Tier.DESTRUCTIVE: frozenset({Permit.READ, Permit.WRITE, Permit.DESTRUCTIVE}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved who they are. `servers` and `tools` limit where that is not None.

    Tools are written `server:tool`. `denied` wins over everything else. At a profile's endpoint
    the `profile` limits besides.
    """

    name: str
    permits: frozenset[Permit] = EVERYTHING
    servers: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()
    profile: Profile | None = None

    @property
    def unlimited(self) -> bool:
        return (
            self.permits >= EVERYTHING
            and self.servers is None
            and self.tools is None
            and not self.denied
            and self.profile is None
        )

    def within(self, profile: Profile) -> "Caller":
        """The same one at a profile's endpoint: never more than before."""
        tier = profile.max_tier
        permits = self.permits if tier is None else self.permits & _WITHIN[tier]
        return replace(self, permits=permits, profile=profile)


OWNER: Final = Caller("owner")
"""The person whose daemon it is."""


def is_offered(upstream: Upstream) -> bool:
    """Whether anything of this upstream exists for any caller."""
    return upstream.enabled and not upstream.quarantined


def may_reach(caller: Caller, upstream: Upstream) -> bool:
    """Whether this upstream exists for this caller."""
    if not is_offered(upstream) or upstream.name in caller.denied:
        return False
    if caller.profile is not None and not caller.profile.has_server(upstream.name):
        return False
    return caller.servers is None or upstream.name in caller.servers


def may_read(caller: Caller, upstream: Upstream) -> bool:
    """Whether this upstream's resources and prompts exist for this caller. Who is limited to some
    tools has those and nothing else.
    """
    return may_reach(caller, upstream) and Permit.READ in caller.permits and caller.tools is None


def may_call(caller: Caller, upstream: Upstream, tool: Tool) -> bool:
    """Whether this tool exists for this caller."""
    if not may_reach(caller, upstream) or _NEEDED[tool.effect] not in caller.permits:
        return False
    if caller.profile is not None and not caller.profile.has_tool(upstream.name, tool.name):
        return False
    name = f"{upstream.name}:{tool.name}"
    return name not in caller.denied and (caller.tools is None or name in caller.tools)
