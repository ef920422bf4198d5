"""The memory engine: the oracle that every other engine must agree with.

Law: as plain as can be. A `MemoryWorld` outlives the stores and leases that several processes
open on it, as a vault on disk would; nothing here ever waits or fails.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mcpproxy.core.approvals import Approval
from mcpproxy.core.errors import StoreError
from mcpproxy.core.ledger import MAX_LEDGER, LedgerLine, login_line
from mcpproxy.core.model import ClientRegistration, Grant
from mcpproxy.core.pending_login import PendingLogin
from mcpproxy.core.ports import Clock, LeaseHold
from mcpproxy.storage.bounds import MAX_APPROVALS, MAX_PENDING_LOGINS, MAX_SET_ASIDE
from mcpproxy.storage.holder import Claim, Holder, IsAlive, is_alive, this_process


@dataclass(slots=True)
class MemoryWorld:
    """What is durable: shared by every MemoryStore and MemoryLease opened on it."""

    grants: dict[str, Grant] = field(default_factory=dict)
    set_aside: dict[str, list[Grant]] = field(default_factory=dict)
    registrations: dict[tuple[str, str], ClientRegistration] = field(default_factory=dict)
    logins: dict[str, PendingLogin] = field(default_factory=dict)
    ledger: dict[str, list[LedgerLine]] = field(default_factory=dict)
    approvals: dict[tuple[str, str], Approval] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    writes: int = 0


class MemoryStore:
    """The Store port over a MemoryWorld."""

    def __init__(self, world: MemoryWorld | None = None) -> None:
        self.world = world or MemoryWorld()
        self._own_writes = 0

    async def load_grant(self, server: str) -> Grant | None:
        return self.world.grants.get(server)

    async def load_grants(self) -> Sequence[Grant]:
        return [self.world.grants[server] for server in sorted(self.world.grants)]

    async def stamp(self) -> int:
        return self.world.writes - self._own_writes

    def damaged(self) -> Mapping[str, StoreError]:
        return {}

    async def save_grant(
        self, grant: Grant, *, expected_revision: int | None, line: LedgerLine | None = None
    ) -> bool:
        stored = self.world.grants.get(grant.server)
        if (stored.revision if stored else None) != expected_revision:
            return False
        if stored and (stored.login_id != grant.login_id or grant.generation < stored.generation):
            return False
        self.world.grants[grant.server] = grant
        self._wrote()
        if line is not None:
            self._note(line)
        return True

    async def replace_grant(self, grant: Grant) -> None:
        self.world.logins.pop(grant.login_id, None)
        stored = self.world.grants.get(grant.server)
        known = [*self.world.set_aside.get(grant.server, ()), *([stored] if stored else [])]
        if any(old.login_id == grant.login_id for old in known):
            return
        if stored:
            aside = self.world.set_aside.setdefault(grant.server, [])
            aside.append(stored)
            del aside[:-MAX_SET_ASIDE]
        self.world.grants[grant.server] = grant
        self._wrote()
        self._note(login_line(grant))

    async def forget_grant(self, server: str, *, line: LedgerLine | None = None) -> None:
        self.world.grants.pop(server, None)
        self.world.set_aside.pop(server, None)
        self._wrote()
        if line is not None:
            self._note(line)

    async def load_ledger(self, server: str, limit: int) -> Sequence[LedgerLine]:
        return self.world.ledger.get(server, [])[-limit:] if limit > 0 else []

    def _wrote(self) -> None:
        self.world.writes += 1
        self._own_writes += 1

    def _note(self, line: LedgerLine) -> None:
        lines = self.world.ledger.setdefault(line.server, [])
        lines.append(line)
        del lines[:-MAX_LEDGER]

    async def load_set_aside(self, server: str) -> Sequence[Grant]:
        return list(self.world.set_aside.get(server, ()))

    async def load_registration(self, issuer: str, redirect_uri: str) -> ClientRegistration | None:
        return self.world.registrations.get((issuer, redirect_uri))

    async def save_registration(self, registration: ClientRegistration) -> None:
        key = (registration.issuer, registration.redirect_uri)
        self.world.registrations[key] = registration

    async def forget_registration(self, issuer: str, redirect_uri: str) -> None:
        self.world.registrations.pop((issuer, redirect_uri), None)

    async def save_login(self, login: PendingLogin) -> None:
        logins = self.world.logins
        logins.pop(login.flow_id, None)
        logins[login.flow_id] = login
        while len(logins) > MAX_PENDING_LOGINS:
            del logins[next(iter(logins))]

    async def take_login(self, state: str) -> PendingLogin | None:
        for flow_id, login in self.world.logins.items():
            if login.state.reveal() == state:
                return self.world.logins.pop(flow_id)
        return None

    async def load_logins(self) -> Sequence[PendingLogin]:
        return list(self.world.logins.values())

    async def forget_login(self, flow_id: str) -> None:
        self.world.logins.pop(flow_id, None)

    async def get_setting(self, name: str) -> str | None:
        return self.world.settings.get(name)

    async def set_setting(self, name: str, value: str) -> None:
        self.world.settings[name] = value

    async def close(self) -> None:
        return None


class MemoryApprovals:
    """The ApprovalStore port over a MemoryWorld."""

    def __init__(self, world: MemoryWorld | None = None) -> None:
        self._world = world or MemoryWorld()

    async def load_approvals(self) -> Sequence[Approval]:
        return [self._world.approvals[key] for key in sorted(self._world.approvals)]

    async def save_approvals(self, approvals: Sequence[Approval]) -> None:
        kept = self._world.approvals
        count = Counter(server for server, _ in kept)
        for each in approvals:
            key = (each.server, each.tool)
            if key in kept or count[each.server] < MAX_APPROVALS:
                count[each.server] += key not in kept
                kept[key] = each

    async def note_seen(self, server: str, tools: Sequence[str], at: datetime) -> None:
        kept = self._world.approvals
        for key in ((server, tool) for tool in tools):
            if key in kept:
                kept[key] = replace(kept[key], seen_at=at)

    async def forget_approvals(self, server: str, tools: Sequence[str]) -> None:
        for tool in tools:
            self._world.approvals.pop((server, tool), None)


class MemoryLease:
    """The Lease port over a MemoryWorld, for one holder."""

    def __init__(
        self,
        world: MemoryWorld,
        clock: Clock,
        *,
        holder: Holder | None = None,
        is_alive: IsAlive = is_alive,
    ) -> None:
        self._world = world
        self._clock = clock
        self._is_alive = is_alive
        self.holder = holder or this_process()

    async def acquire(self, name: str, ttl: timedelta) -> LeaseHold | None:
        elapsed = self._clock.elapsed()
        claim = self._world.claims.get(name)
        if claim and claim.stands(elapsed, self._is_alive):
            return None
        fence = claim.fence + 1 if claim else 1
        self._world.claims[name] = Claim(self.holder, fence, elapsed, elapsed + ttl)
        return LeaseHold(name, str(self.holder), fence, elapsed + ttl)

    async def release(self, hold: LeaseHold) -> None:
        claim = self._world.claims.get(hold.name)
        if claim and claim.holder == self.holder and claim.fence == hold.fence:
            self._world.claims[hold.name] = Claim(None, claim.fence, claim.since, claim.until)
