"""One daemon: opened, built of its rooms, begun, and stopped in order.

Law: the data dir and the port are ours before anything is opened; what spends secrets stops last
and is let finish.
"""

import asyncio
import os
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from mcpproxy import __version__
from mcpproxy.checkup import key_check, provider_checks
from mcpproxy.clock import SystemClock
from mcpproxy.config.changes import Changes
from mcpproxy.config.listen import Listen
from mcpproxy.config.locate import Location
from mcpproxy.config.settings import Settings
from mcpproxy.core.connection import ConnectionState
from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.health import rfc3339
from mcpproxy.core.notices import LoggedOut, LoginSucceeded, Notice, RefreshSucceeded, Woke
from mcpproxy.custody.endings import Endings
from mcpproxy.custody.journal import Journal
from mcpproxy.gateway.access import OWNER
from mcpproxy.gateway.gateway import Gateway
from mcpproxy.live_config import LiveConfig
from mcpproxy.network.reach import ReachWatch
from mcpproxy.network.watch import NetworkWatch
from mcpproxy.oauth.probe import ProviderProbe
from mcpproxy.observability import activity_file
from mcpproxy.observability.activity import ActivityLog, Retention
from mcpproxy.observability.activity_file import ActivityFile
from mcpproxy.observability.bus import Bus
from mcpproxy.observability.known_secrets import configured_secrets, grant_secrets
from mcpproxy.observability.metrics import Metrics
from mcpproxy.observability.redaction import Redactor
from mcpproxy.observability.refresh_log import RefreshLog
from mcpproxy.observability.upstream_log import UpstreamLogs
from mcpproxy.rooms import Ground, Rooms, introduce
from mcpproxy.storage.engines import Opening, Vault, open_vault
from mcpproxy.storage.keys import KEY_SOURCES
from mcpproxy.storage.ownership import DaemonRecord, Ownership
from mcpproxy.web.address import socket_path
from mcpproxy.web.application import build_app
from mcpproxy.web.callback import LoopbackCallback
from mcpproxy.web.doctor import Check, local_checks, server_checks
from mcpproxy.web.guard import GuardRules
from mcpproxy.web.parts import DaemonFacts, WebParts
from mcpproxy.web.server import WebServer

LOG_DIRECTORY: Final = "logs"
AT_THE_DOOR: Final = frozenset({"api_key", "require_mcp_auth"})
"""Settings that say who may come in; who is in already was let in by the old ones."""

_log = structlog.get_logger("mcpproxy")


class App:
    """One daemon: its rooms, built, begun and ended in order."""

    def __init__(self, location: Location, settings: Settings, redactor: Redactor) -> None:
        self._settings = settings
        self._redactor = redactor
        self._clock = SystemClock()
        self._started_at = self._clock.now()
        self._bus = Bus(self._clock)
        self._config = LiveConfig(location, os.environ, settings, self._bus)
        self._logs = UpstreamLogs(log_directory(settings), self._clock, redactor)
        self._activity = ActivityLog(
            ActivityFile(settings.data_dir / activity_file.FILE),
            self._clock,
            redactor,
            _retention(settings),
        )
        self._callback = LoopbackCallback()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._stopping = False
        self._ready = False
        self._web: WebServer | None = None
        self._vault: Vault | None = None
        self._rooms: Rooms | None = None

    @property
    def endpoint(self) -> str:
        """The URL for MCP clients."""
        listen = self._web.listen if self._web else self._settings.listen
        return f"http://{listen}/mcp"

    # --- start --------------------------------------------------------------------------------

    async def start(self, ownership: Ownership) -> None:
        """Open, build, bind, begin. Answers as soon as what is local stands; no upstream and no
        provider is waited for.
        """
        vault = self._vault = await self._open_vault()
        rooms = self._rooms = introduce(
            Ground(
                settings=self._settings,
                config=self._config,
                vault=vault,
                clock=self._clock,
                bus=self._bus,
                logs=self._logs,
                callback=self._callback,
                may_send=lambda: not self._stopping,
            )
        )
        self._listen(self._web_parts(rooms), ownership)
        self._config.on_change(self._apply)
        # Refreshes first: they depend on nothing, and their replay windows may be closing.
        await rooms.manager.start()
        await rooms.manager.reconfigure(self._config.upstreams())
        self._learn_secrets()
        if self._web is not None:
            await self._web.start()
        self._ready = True
        await rooms.gateway.start(self._config.upstreams())
        self._spawn(self._config.follow())
        self._spawn(rooms.monitor.run())
        self._spawn(self._recall_logouts(rooms))
        self._spawn(self._watch_network(rooms))
        self._spawn(self._watch_providers(rooms))
        rooms.machine.apply()
        with suppress(McpproxyError):
            await rooms.logins.start()

    async def _open_vault(self) -> Vault:
        settings = self._settings
        vault = await open_vault(
            Opening(
                data_dir=settings.data_dir,
                keys=KEY_SOURCES[settings.key_source.value](settings.data_dir, os.environ),
                clock=self._clock,
                database_url=settings.database_url.reveal() if settings.database_url else None,
            )
        )
        if vault.locked is not None:
            _log.error(
                "stored logins are locked",
                reason=vault.locked.message,
                next_step=vault.locked.next_step,
            )
        return vault

    def _web_parts(self, rooms: Rooms) -> WebParts:
        manager, gateway, monitor = rooms.manager, rooms.gateway, rooms.monitor
        governor, activity = gateway.governor, self._activity
        depths = {
            "events": self._bus.depth,
            "calls": governor.waiting,
            "activity": activity.depth,
        }
        metrics = Metrics(self._clock, monitor.standings, manager.grant, depths, governor.loads)
        endings = Endings(Journal(rooms.vault.store, self._clock, self._bus), manager, self._clock)
        log = RefreshLog()
        for listener in (log, metrics, rooms.logouts, monitor, endings, activity):
            self._bus.hear(listener.hear)
        self._bus.hear(self._hear)
        activity.start()
        self._spawn(endings.run())
        return WebParts(
            clock=self._clock,
            rules=self._rules,
            about=self._about,
            ready=lambda: self._ready,
            checks=lambda: self._checks(rooms),
            directory=self._config,
            editor=self._config,
            monitor=monitor,
            bus=self._bus,
            metrics=metrics,
            logs=self._logs,
            grants=manager,
            ledger=rooms.vault.store,
            refresh=manager,
            logins=rooms.logins,
            connections=gateway,
            gateway=gateway,
            tools=governor,
            activity=activity,
            control=lambda: self._config.settings.control,
            mcp=gateway.asgi(lambda _: OWNER),
            policy=self._settings.refresh,
            closing=self._closing,
        )

    def _listen(self, parts: WebParts, ownership: Ownership) -> None:
        settings = self._settings
        path = socket_path(settings.data_dir)
        self._web = WebServer(
            build_app(parts),
            Listen(settings.listen.host, settings.listen.port),
            unix_socket=path,
            closing=self._closing,
        )
        ownership.announce(
            DaemonRecord(
                pid=os.getpid(),
                listen=str(self._web.listen),
                started_at=rfc3339(self._started_at),
                socket=str(path),
            )
        )

    # --- stop ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """In the order of who needs whom; custody last, so that what was sent comes home."""
        self._ready = False
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        rooms = self._rooms
        if rooms is not None:
            rooms.gateway.end_streams()
        if self._web is not None:
            cut_off = (lambda: None) if rooms is None else rooms.gateway.cut_off
            await _finish("the web server", self._web.stop(cut_off))
        if rooms is not None:
            await _finish("logins by client credentials", rooms.machine.stop())
            await _finish("pending logins", rooms.logins.stop())
        await _finish("the login callback", self._callback.aclose())
        if rooms is not None:
            await _finish("the gateway", rooms.gateway.stop())
            await _finish("custody", rooms.manager.stop())
        if self._vault is not None:
            await _finish("the vault", self._vault.store.close())
        await _finish("the log of activity", self._activity.close())
        self._bus.close()
        self._logs.close()

    # --- what happens meanwhile -----------------------------------------------------------------

    def _hear(self, notice: Notice) -> None:
        """What one room says that another waits for."""
        if self._rooms is None:
            return
        gateway = self._rooms.gateway
        match notice:
            case Woke():
                gateway.wake()
                self._rooms.machine.retry_now()
            case RefreshSucceeded(server=server):
                self._learn_secrets(server)
                if gateway.connection(server).state is not ConnectionState.CONNECTED:
                    gateway.wake(server)
            case LoginSucceeded(server=server) | LoggedOut(server=server):
                self._learn_secrets(server)
                # A session belongs to the account that began it.
                self._spawn(self._reconnect(gateway, server))
            case _:
                return

    def _learn_secrets(self, server: str | None = None) -> None:
        """Let the logs recognise what must never stand in them: of one server, or of all."""
        if self._rooms is None:
            return
        for name, upstream in self._config.upstreams().items():
            if server in (None, name):
                self._redactor.learn(*configured_secrets(upstream))
        for grant in self._rooms.manager.grants():
            if server in (None, grant.server):
                self._redactor.learn(*grant_secrets(grant))

    async def _recall_logouts(self, rooms: Rooms) -> None:
        """Servers without a login whose person ended the last one are told as such."""
        upstreams, manager = self._config.upstreams(), rooms.manager
        servers = [
            name for name, each in upstreams.items() if each.url and manager.grant(name) is None
        ]
        await rooms.logouts.recall(servers, rooms.vault.store.load_ledger)

    async def _watch_network(self, rooms: Rooms) -> None:
        async with NetworkWatch() as watch:
            while True:
                await watch.fresh()
                rooms.manager.network_changed()
                self._bus.publish(Woke("network", timedelta(0)))

    async def _watch_providers(self, rooms: Rooms) -> None:
        manager, probe = rooms.manager, ProviderProbe(rooms.sender)
        reach = ReachWatch(manager.grants, probe.is_open, self._clock, manager.reachable_again)
        self._bus.hear(reach.hear)
        await reach.run()

    async def _reconnect(self, gateway: Gateway, server: str) -> None:
        with suppress(McpproxyError):
            await gateway.restart(server)

    async def _apply(self, settings: Settings, changes: Changes) -> None:
        self._settings = settings
        self._redactor.learn(settings.api_key)
        self._learn_secrets()
        self._activity.retention = _retention(settings)
        if self._rooms is not None:
            await self._rooms.manager.reconfigure(settings.upstreams)
            self._rooms.machine.apply()
            await self._rooms.gateway.apply(settings.upstreams, settings.control)
        if self._web is not None and not AT_THE_DOOR.isdisjoint(changes.settings):
            self._web.hang_up()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a background task failed", exc_info=task.exception())

    # --- facts for the web ----------------------------------------------------------------------

    def _rules(self) -> GuardRules:
        settings = self._settings
        host = settings.listen.host
        return GuardRules(
            api_key=settings.api_key,
            require_mcp_auth=settings.require_mcp_auth,
            hosts=frozenset({host, *settings.trusted_hosts}),
            any_address=host in ("0.0.0.0", "::"),  # noqa: S104 - compared, not bound
        )

    def _about(self) -> DaemonFacts:
        settings = self._settings
        url = settings.database_url
        return DaemonFacts(
            version=__version__,
            pid=os.getpid(),
            listen=str(self._web.listen if self._web else settings.listen),
            endpoint=self.endpoint,
            started_at=self._started_at,
            data_dir=str(settings.data_dir),
            config_path=str(settings.config_path),
            store=url.reveal().partition(":")[0] if url else "sqlite",
            key_location=str(settings.config_path),
            routing_mode=settings.routing_mode.value,
            socket=str(socket_path(settings.data_dir)),
        )

    async def _checks(self, rooms: Rooms) -> tuple[Check, ...]:
        settings, names = self._settings, self._config.upstreams()
        local = await asyncio.to_thread(local_checks, settings.data_dir, os.environ)
        grants = [grant for name in names if (grant := rooms.manager.grant(name)) is not None]
        return (
            *local,
            key_check(settings.key_source.value, rooms.vault.locked),
            *await provider_checks(grants, rooms.sender, self._clock),
            *server_checks(rooms.monitor.healths(), rooms.manager.grant),
        )


async def _finish(what: str, stopping: Awaitable[None]) -> None:
    """One part's trouble must not keep the others from stopping in order."""
    try:
        await stopping
    except Exception as error:
        _log.error("could not be stopped in order", part=what, exc_info=error)


def _retention(settings: Settings) -> Retention | None:
    kept = settings.activity
    if not kept.enabled:
        return None
    return Retention(kept.max_age, kept.max_records, kept.max_bytes)


def log_directory(settings: Settings) -> Path:
    return settings.log.directory or settings.data_dir / LOG_DIRECTORY
