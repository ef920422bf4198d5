"""The stage of the field scenarios: the real core, custody, oauth, storage and health code in
virtual time, one or several processes on one store, and a judge who looks each second.

Law: a scenario fails by itself if anybody is asked to log in while the provider would still
refresh the grant, if a browser is opened, or if a grant that is gone is presented too often.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final, Self

from mcpproxy.core.connection import Connection
from mcpproxy.core.errors import LoginRequired, RefreshPending
from mcpproxy.core.health import Health
from mcpproxy.core.model import Grant, Secret, TokenSet, Upstream
from mcpproxy.core.notices import (
    LoginBegan,
    LoginLost,
    Notice,
    RefreshAttempted,
    RefreshScheduled,
    RetryScheduled,
)
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.repair import Repairs
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.observability.monitor import Monitor
from tests.builders import ISSUER, a_grant
from tests.custody.bench import HOUR, NAME, Bench, Notices
from tests.field.parts import Calls, Connections, Nobody, Seen, asks, url_of
from tests.field.provider import FieldProvider, Visit
from tests.proof import Figure, record
from tests.simulation.answers import Expiry
from tests.simulation.provider import Family, Login, Rotation

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)

CALM_EVERY: Final = MINUTE
"""How often health is looked at while nothing is told and nothing changes."""

BUSY_FOR: Final = 30 * SECOND
"""How long it is looked at more often after anything was told or changed."""

LOOK_TAKES: Final = timedelta(milliseconds=200)
"""What is told in a burst is looked at once."""

TELL_WITHIN: Final = timedelta(seconds=5)
"""How soon after the verdict health must say that the login is gone."""

MOST_REFUSED: Final = 3
"""How many refreshes a provider may still see of a grant that it has ended, by one client."""


class FalseAlarm(AssertionError):
    """Somebody was asked to log in while the provider would have refreshed the grant."""


class _Audience(Notices):
    """Hears every notice, and lets the judge look at once at what changes facts."""

    def __init__(self, look: Callable[[], None], lost: Callable[[LoginLost], None]) -> None:
        super().__init__()
        self._look = look
        self._lost = lost

    def publish(self, notice: Notice) -> None:
        super().publish(notice)
        if isinstance(notice, LoginLost):
            self._lost(notice)
        if not isinstance(notice, RefreshAttempted | RetryScheduled | RefreshScheduled):
            self._look()


class Scene(Bench):
    """One scenario. `looked_every` is how often health is looked at while anything happens;
    `tick` is how often custody looks at its clocks. Virtual seconds cost real ones: longer
    pauses make months affordable, and change nothing that is due.
    """

    def __init__(self, *, looked_every: timedelta = SECOND, tick: timedelta = 30 * SECOND) -> None:
        super().__init__()
        self.provider = FieldProvider(self.clock)
        self.notices = _Audience(self._nudge, self._told_lost)
        self.connections: dict[str, Connection] = {}
        self.processes: dict[str, RefreshManager] = {}
        self.seen: list[Seen] = []
        self.calls = Calls()
        self.refusing: set[str] = set()
        """Servers whose provider refuses for now what it will take later: its word stands."""
        self._monitors: dict[str, Monitor] = {}
        self._causes: dict[tuple[str, str], str] = {}
        self._alarms: list[str] = []
        self._nudged = asyncio.Event()
        self._every = looked_every
        self._tick = tick
        self._tasks: list[asyncio.Task[None]] = []
        asyncio.get_running_loop().set_exception_handler(self._reported)

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._watch(), name="judge"))
        return self

    async def __aexit__(self, *raised: object) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._look()
        self.provider.script.clear()
        await super().__aexit__(*raised)
        if not any(raised):
            self._judge_the_end()

    # --- what there is ------------------------------------------------------------------------

    def log_in(
        self,
        server: str = NAME,
        *,
        rotation: Rotation = Rotation.STRICT,
        life: timedelta = HOUR,
        said: timedelta | None = timedelta(-1),
        **changes: object,
    ) -> Grant:
        """A person's login, as it was stored just now. `said` is the life as the provider told
        it, if it did not tell the true one.
        """
        seconds = life.total_seconds()
        expiry = Expiry.MISSING if said is None else Expiry.NUMBER
        access, refresh = self.provider.truth.log_in(
            Login(server, rotation, seconds, expiry), self.provider.now()
        )
        now = self.clock.now()
        told = life if said is not None and said < timedelta(0) else said
        tokens = TokenSet(Secret(access), Secret(refresh), now, now + told if told else None)
        grant = a_grant(
            server,
            server_url=url_of(server),
            token_endpoint=f"{ISSUER}/token/{server}",
            tokens=tokens,
            logged_in_at=now,
            login_id=f"login-{server}-{self.provider.now():.0f}",
        )
        return self.put(replace(grant, **changes))  # type: ignore[arg-type]

    def truth(self, server: str = NAME) -> Family:
        return self.provider.truth.family(server)

    def tools(self, name: str = "p1") -> RefreshTools:
        return replace(
            super().tools(name),
            provider=TokenEndpoint(self.provider, self.clock),
            repair=Repairs(self.provider, self.disk, self.clock),
        )

    async def start(self, name: str = "p1", *, tick: timedelta | None = None) -> RefreshManager:
        """A process with custody."""
        manager = self.processes[name] = await super().start(name, tick=tick or self._tick)
        self._monitors[name] = Monitor(
            self.clock,
            _Directory(self),
            manager,
            Connections(self.connections),
            lambda server: None,
            Nobody(),
        )
        return manager

    async def stop(self, name: str = "p1") -> None:
        """SIGTERM."""
        del self._monitors[name]
        await self.processes.pop(name).stop()

    def servers(self) -> list[str]:
        return [family.server for family in self.provider.truth.families()]

    # --- time and calls -----------------------------------------------------------------------

    async def pass_time(self, span: timedelta) -> None:
        await asyncio.sleep(span.total_seconds())

    async def call(self, server: str = NAME, *, process: str = "p1") -> bool:
        """One tool call as the gateway makes it: one replay after a 401. Whether it was served."""
        manager, url = self.processes[process], url_of(server)
        try:
            token = await manager.token(server, url)
            if token is None:
                raise AssertionError(f"no login for {server}")
            if not self.takes(server, token):
                token = await manager.challenged(server, url, token)
                self.calls.replayed += 1
            if self.takes(server, token):
                await manager.accepted(server, token)
                self.calls.served += 1
                return True
            self.calls.rejected += 1
        except RefreshPending as error:
            self.calls.pending.append(error)
        except LoginRequired as error:
            self.calls.refused.append(error)
            if self.is_good(server):
                self._alarm(server, f"a caller was told: {error.message}")
        return False

    def call_every(self, span: timedelta, server: str = NAME, *, process: str = "p1") -> None:
        """A client that goes on calling, whatever comes of it."""

        async def go_on() -> None:
            while True:
                await asyncio.sleep(span.total_seconds())
                if process in self.processes:
                    await self.call(server, process=process)

        self._tasks.append(asyncio.create_task(go_on(), name=f"caller:{server}"))

    def is_good(self, server: str) -> bool:
        """Whether the provider would refresh this grant."""
        return self.truth(server).ended is None and server not in self.refusing

    def takes(self, server: str, token: Secret) -> bool:
        """What the MCP server says to this access token."""
        return self.truth(server).knows_access(token.reveal(), self.provider.now())

    # --- what was seen ------------------------------------------------------------------------

    def health(self, server: str = NAME, *, process: str = "p1") -> Health:
        return self._monitors[process].health(server)

    def presented(self, server: str = NAME) -> int:
        """How many refreshes the provider saw."""
        return len(self.provider.visits_of(server))

    def causes(self, server: str = NAME) -> set[str]:
        """The causes that health ever showed."""
        return {seen.health.cause for seen in self.seen if seen.server == server}

    # --- the judge ----------------------------------------------------------------------------

    def require_good(self, server: str = NAME, *, presented: int | None = None) -> None:
        """The login lives, is healthy, and took exactly so many refreshes."""
        family = self.truth(server)
        assert family.ended is None, family.ended
        for process in self.processes:
            assert self.health(server, process=process).level == "healthy", self.health(server)
        if presented is not None:
            assert self.presented(server) == presented, self.story(server)

    def require_gone(
        self,
        code: str,
        server: str = NAME,
        *,
        cause: str = "grant_ended",
        refusals: int = 2,
        mending: float = 0.0,
    ) -> None:
        """The provider ended it; health said so in time, with the provider's own word. The
        verdict stands from so many refusals, and from what was tried in vain for so many
        seconds after them.
        """
        family = self.truth(server)
        assert family.ended is not None
        told = next((seen for seen in self.seen if seen.server == server and asks(seen)), None)
        assert told is not None, self.story(server)
        late = told.at - self._verdict_at(family, refusals) - mending
        assert 0 <= late <= TELL_WITHIN.total_seconds(), f"told {late:.1f} s after the verdict"
        assert told.health.cause == cause
        assert code in told.health.detail, told.health.detail
        assert told.health.action == "login"

    def prove(self, name: str, goal: str, **figures: Figure) -> None:
        """Leave for the report what this scenario has shown so far."""
        said = len(self._alarms) + len(self.calls.refused)
        record(
            name,
            goal=goal,
            held="no false request to sign in" if said == 0 else f"{said} of them",
            figures={**figures, "false requests to sign in": said},
        )

    def story(self, server: str = NAME) -> list[str]:
        """What happened, for a failure's message."""
        return [f"{v.at:.1f} {v.token} → {v.reply}" for v in self.provider.visits_of(server)]

    def _verdict_at(self, family: Family, refusals: int) -> float:
        """The last of so many refusals, or, where two make a verdict, the first once the access
        token is dead by its own expiry.
        """
        refused = [visit.answered_at or 0.0 for visit in self._refused(family)]
        assert refused, "the provider was never asked since it ended the login"
        confirmed = refused[refusals - 1] if len(refused) >= refusals else float("inf")
        expires_at = self.grant(family.server).tokens.expires_at
        if expires_at is None or refusals > 2:
            return confirmed
        ahead = (expires_at - self.clock.now()).total_seconds()
        return min(confirmed, max(refused[0], self.provider.now() + ahead))

    def grant(self, server: str = NAME) -> Grant:
        """As some process knows it."""
        for manager in self.processes.values():
            grant = manager.grant(server)
            if grant is not None:
                return grant
        raise AssertionError(f"{server} has no grant any more")

    def _refused(self, family: Family) -> list[Visit]:
        """Presentations of a grant that was over, from the first that was answered by a word."""
        since = [
            visit
            for visit in self.provider.visits_of(family.server)
            if family.ended is not None and visit.at >= family.ended_at
        ]
        while since and not _is_word(since[0]):
            since.pop(0)
        return since

    async def _watch(self) -> None:
        busy_until = 0.0
        while True:
            pause = self._every if self.provider.now() < busy_until else CALM_EVERY
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause, self._every).total_seconds()):
                    await self._nudged.wait()
            is_news = self._nudged.is_set()
            self._nudged.clear()
            if self._look() or is_news:
                busy_until = self.provider.now() + BUSY_FOR.total_seconds()
            await asyncio.sleep(LOOK_TAKES.total_seconds())

    def _nudge(self) -> None:
        self._nudged.set()

    def _told_lost(self, notice: LoginLost) -> None:
        if self.is_good(notice.server):
            self._alarm(notice.server, f"counted as lost: {notice.reason}, {notice.evidence}")

    def _look(self) -> bool:
        """Look at everything; whether anything has another cause than before."""
        is_news = False
        for process, monitor in self._monitors.items():
            for server, health in monitor.healths().items():
                seen = Seen(self.provider.now(), process, server, health)
                if self._causes.get((process, server)) != health.cause:
                    self._causes[process, server] = health.cause
                    self.seen.append(seen)
                    is_news = True
                if asks(seen) and self.is_good(server):
                    self._alarm(server, f"health says: {health.line}")
        return is_news

    def _alarm(self, server: str, what: str) -> None:
        self._alarms.append(f"{self.provider.now():.1f} {server}: {what}")

    def _reported(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        self._alarms.append(f"a bug: {context.get('message')}: {context.get('exception')!r}")

    def _judge_the_end(self) -> None:
        assert self.notices.of(LoginBegan) == [], "a browser was opened"
        if self._alarms:
            raise FalseAlarm("\n".join([*self._alarms[:5], *self.story()[-10:]]))
        for family in self.provider.truth.families():
            assert not family.lost_by_us, self.story(family.server)
            clients = Counter(visit.form.get("client_id") for visit in self._refused(family))
            assert max(clients.values(), default=0) <= MOST_REFUSED, self.story(family.server)


class _Directory:
    """The port UpstreamDirectory: a server for each login."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def upstreams(self) -> Mapping[str, Upstream]:
        return {name: Upstream(name, url=url_of(name)) for name in self._scene.servers()}


def _is_word(visit: Visit) -> bool:
    """Answered by the provider itself, and not that it is out of order."""
    status = getattr(visit.reply, "status", 0)
    return 200 <= status < 500 and status not in (408, 425, 429)
