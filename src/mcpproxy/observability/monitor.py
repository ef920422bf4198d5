"""From facts to health, for every server, for every surface.

Law: nobody else calls `assess` on live facts; what one surface shows of a server, all show. A
change is published within a second of the fact.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final, Protocol

from mcpproxy.core.causes import Action, Level
from mcpproxy.core.connection import Connection, ConnectionState, Trouble
from mcpproxy.core.errors import UnknownServer
from mcpproxy.core.health import Health, Seeding, Snapshot, assess, changes_at
from mcpproxy.core.notices import Called, Notice, ServersChanged
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
"""How often every server's facts are compared with those its health was told from."""

LOOK_AGAIN: Final = timedelta(seconds=30)
"""How long a health is believed while no fact changes, where time alone changes nothing."""

SLICE: Final = 200
"""Servers looked at in one go: some 2 ms while nothing changes, at worst 15."""


class Standing(Protocol):
    """What is counted of a server's health."""

    @property
    def status(self) -> str: ...

    @property
    def level(self) -> Level: ...


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a list of servers would show, countdowns apart."""

    status: str
    level: Level
    admin_state: str
    cause: str
    action: str
    connection: Connection
    generation: int
    failures: int
    refusals: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was shown, the facts it was told from, and until when time alone changes nothing."""

    shown: _Shown
    facts: Snapshot | None
    until: datetime

    def holds(self, facts: Snapshot | None) -> bool:
        return facts is not None and facts == self.facts


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
        logged_out: Callable[[str], datetime | None] = lambda server: None,
    ) -> None:
        """`zone` is for times of day; None is the machine's own. `seeding` tells of logins with
        client credentials that are being made, `logged_out` when a person ended the last login.
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
        self._logged_out = logged_out
        self._nudged = asyncio.Event()
        self._sweep_at = 0.0
        self._seen: dict[str, _Seen] = {}
        self._swept_at: timedelta | None = None
        self._touched: set[str] = set()
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

    def standings(self) -> Mapping[str, Standing]:
        """Every configured server's, for who counts them often: as the watch saw them last, which
        is while it runs a second ago.
        """
        swept_at = self._swept_at
        if swept_at is None or self._clock.elapsed() - swept_at > 2 * LOOK_EVERY:
            return self.healths()
        return {name: seen.shown for name, seen in sorted(self._seen.items())}

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
            held_until=self._grants.held_until(server),
            seeding=self._seeding(server),
            logged_out_at=self._logged_out(server) if grant is None else None,
        )

    def hear(self, notice: Notice) -> None:
        """Something happened: look at once instead of within the second."""
        if isinstance(notice, ServersChanged | Called):
            return
        server: str | None = getattr(notice, "server", None)
        if server is not None:
            self._touched.add(server)
        else:
            self._sweep_at = 0.0
        self._nudged.set()

    async def run(self) -> None:
        """Publish changes for ever; ends by cancellation."""
        seen = self._seen
        clock = asyncio.get_running_loop().time
        self._sweep_at = clock() + LOOK_EVERY.total_seconds()
        for server in self._directory.upstreams():
            seen[server] = self._see(server, self._clock.now())
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._sweep_at):
                    await self._nudged.wait()
            self._nudged.clear()
            touched, self._touched = self._touched, set()
            for server in sorted(touched):
                self._review(server, seen)
            if clock() >= self._sweep_at:
                self._sweep_at = clock() + LOOK_EVERY.total_seconds()
                await self._sweep(seen)

    async def _sweep(self, seen: dict[str, "_Seen"]) -> None:
        """Look at every server, and let others work in between."""
        for number, server in enumerate(sorted(seen.keys() | self._directory.upstreams().keys())):
            self._review(server, seen)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        self._swept_at = self._clock.elapsed()

    def _review(self, server: str, seen: dict[str, "_Seen"]) -> None:
        """Publish if this server shows something else than it did."""
        now, before = self._clock.now(), seen.get(server)
        if server not in self._directory.upstreams():
            if seen.pop(server, None) is not None:
                self._publisher.publish(ServersChanged(server, "removed"))
            return
        if before is not None and now < before.until and before.holds(self._facts(server)):
            return
        after = seen[server] = self._see(server, now)
        if before is None:
            self._publisher.publish(ServersChanged(server, "added"))
        elif before.shown != after.shown:
            self._publisher.publish(ServersChanged(server, after.shown.cause))

    def _see(self, server: str, now: datetime) -> "_Seen":
        facts = self._facts(server)
        snapshot, health = self._look(server, now)
        grant = snapshot.grant
        shown = _Shown(
            status=health.status,
            level=health.level,
            admin_state=health.admin_state,
            cause=health.cause,
            action=health.action,
            connection=snapshot.connection,
            generation=grant.generation if grant else 0,
            failures=grant.failures.count if grant and grant.failures else 0,
            refusals=grant.refusals.count if grant and grant.refusals else 0,
        )
        return _Seen(shown, facts, min(changes_at(snapshot, now, self._policy), now + LOOK_AGAIN))

    def _facts(self, server: str) -> Snapshot | None:
        """None while a bug keeps us from telling them; `_look` has told of it."""
        try:
            return self.snapshot(server)
        except Exception:
            return None

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
