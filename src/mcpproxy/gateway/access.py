"""Who may call what: the one decision, for listing and for calling alike.

Law: callable if and only if listed. Deny wins; what is disabled or quarantined is not there.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

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


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved who they are. `servers` and `tools` limit where that is not None.

    Tools are written `server:tool`. `denied` wins over everything else.
    """

    name: str
    permits: frozenset[Permit] = EVERYTHING
    servers: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()

    @property
    def unlimited(self) -> bool:
        return (
            self.permits >= EVERYTHING
            and self.servers is None
            and self.tools is None
            and not self.denied
        )


def is_offered(upstream: Upstream) -> bool:
    """Whether anything of this upstream exists for any caller."""
    return upstream.enabled and not upstream.quarantined


def may_reach(caller: Caller, upstream: Upstream) -> bool:
    """Whether this upstream exists for this caller."""
    if not is_offered(upstream) or upstream.name in caller.denied:
        return False
    return caller.servers is None or upstream.name in caller.servers


def may_call(caller: Caller, upstream: Upstream, tool: Tool) -> bool:
    """Whether this tool exists for this caller."""
    if not may_reach(caller, upstream) or _NEEDED[tool.effect] not in caller.permits:
        return False
    name = f"{upstream.name}:{tool.name}"
    return name not in caller.denied and (caller.tools is None or name in caller.tools)
