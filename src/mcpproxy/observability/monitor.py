"""From facts to health, for every server, for every surface.

Law: nobody else calls `assess` on live facts; what one surface shows of a server, all show. A
change is published within a second of the fact.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final

from mcpproxy.core.causes import Action
from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import UnknownServer
from mcpproxy.core.health import Health, Seeding, Snapshot, assess
from mcpproxy.core.notices import Notice, ServersChanged
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy
from mcpproxy.core.ports import (
    Clock,
    ConnectionFacts,
    GrantFacts,
    LoginFlow,
    Publisher,
    UpstreamDirectory,
)
from mcpproxy.observability.isolation import Faults

LOOK_EVERY: Final = timedelta(seconds=1)
"""Facts such as an expired token change without a notice; a second is what users are promised."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a list of servers would show, countdowns apart."""

    status: str
    admin_state: str
    cause: str
    action: str
    connection: Connection
    generation: int
    failures: int
    refusals: int


class Monitor:
    """Healths of all configured servers, now; and a watch that publishes when one changes."""

    def __init__(
        self,
        clock: Clock,
        directory: UpstreamDirectory,
        grants: GrantFacts,
        connections: ConnectionFacts,
        pending_login: Callable[[str], LoginFlow | None],
        publisher: Publisher,
        policy: RefreshPolicy = DEFAULT_POLICY,
        *,
        zone: tzinfo | None = None,
        seeding: Callable[[str], Seeding | None] = lambda server: None,
    ) -> None:
        """`zone` is for times of day; None is the machine's own. `seeding` tells of logins with
        client credentials that are being made.
        """
        self._clock = clock
        self._directory = directory
        self._grants = grants
        self._connections = connections
        self._pending_login = pending_login
        self._publisher = publisher
        self._policy = policy
        self._zone = zone
        self._seeding = seeding
        self._nudged = asyncio.Event()
        self._faults = Faults("telling the health of")

    def health(self, server: str) -> Health:
        """Raises UnknownServer."""
        if server not in self._directory.upstreams():
            raise _unknown(server)
        return self._look(server, self._clock.now())[1]

    def healths(self) -> Mapping[str, Health]:
        """Every configured server's, sorted by name."""
        now = self._clock.now()
        return {name: self._look(name, now)[1] for name in sorted(self._directory.upstreams())}

    def snapshot(self, server: str) -> Snapshot:
        """The facts themselves. Raises UnknownServer."""
        upstream = self._directory.upstreams().get(server)
        if upstream is None:
            raise _unknown(server)
        flow = self._pending_login(server)
        grant = self._grants.grant(server)
        if grant is not None and grant.server_url != upstream.url:
            grant = None  # a login at another address is no login here
        return Snapshot(
            enabled=upstream.enabled,
            quarantined=upstream.quarantined,
            connection=self._connections.connection(server),
            grant=grant,
            login_until=flow.expires_at if flow else None,
            store_trouble=self._grants.store_trouble(),
            woken_at=self._grants.woken_at(),
            damage=self._grants.damage(server),
            seeding=self._seeding(server),
        )

    def hear(self, notice: Notice) -> None:
        """Something happened: look at once instead of within the second."""
        if not isinstance(notice, ServersChanged):
            self._nudged.set()

    async def run(self) -> None:
        """Publish changes for ever; ends by cancellation."""
        shown = self._shown()
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY.total_seconds()):
                    await self._nudged.wait()
            except TimeoutError:
                pass
            self._nudged.clear()
            shown = self._publish_changes(shown)

    def _publish_changes(self, before: Mapping[str, _Shown]) -> Mapping[str, _Shown]:
        after = self._shown()
        for server in sorted(before.keys() | after.keys()):
            old, new = before.get(server), after.get(server)
            if old == new:
                continue
            reason = "removed" if new is None else "added" if old is None else new.cause
            self._publisher.publish(ServersChanged(server, reason))
        return after

    def _shown(self) -> Mapping[str, _Shown]:
        now = self._clock.now()
        shown = {}
        for server in self._directory.upstreams():
            snapshot, health = self._look(server, now)
            grant = snapshot.grant
            shown[server] = _Shown(
                status=health.status,
                admin_state=health.admin_state,
                cause=health.cause,
                action=health.action,
                connection=snapshot.connection,
                generation=grant.generation if grant else 0,
                failures=grant.failures.count if grant and grant.failures else 0,
                refusals=grant.refusals.count if grant and grant.refusals else 0,
            )
        return shown

    def _look(self, server: str, now: datetime) -> tuple[Snapshot, Health]:
        """The facts of a configured server and its health; a bug in them is this server's only."""
        zone = self._zone or now.astimezone().tzinfo
        try:
            snapshot = self.snapshot(server)
            health = assess(snapshot, now, self._policy, zone=zone)
        except Exception as error:
            self._faults.tell(server, error)
            return Snapshot(), _untold(error, now)
        self._faults.over(server)
        return snapshot, health


def _unknown(server: str) -> UnknownServer:
    return UnknownServer(
        f"There is no server named {server!r}.",
        next_step="`mcpproxy upstream list` shows the names.",
    )


def _untold(error: Exception, now: datetime) -> Health:
    """What is shown of a server whose health a bug keeps us from telling."""
    words = f"Health unknown: a bug of mcpproxy ({type(error).__name__})"
    connection = Connection(ConnectionState.ERROR, 0, Trouble.CONFIGURATION, words)
    health = assess(Snapshot(connection=connection), now)
    detail = f"{words}; the daemon's log has the details, other servers are not concerned"
    return replace(health, summary="Health unknown", detail=detail, action=Action.VIEW_LOGS.value)
