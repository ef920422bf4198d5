"""Parts for a real web application: the ports it needs, played by small honest objects."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mcpproxy.core.activity import CallFilter, CallRecord
from mcpproxy.core.approvals import HeldTool, Standing
from mcpproxy.core.connection import Connection, ConnectionState
from mcpproxy.core.control import Control, Profile
from mcpproxy.core.errors import (
    ConfigError,
    LoginRequired,
    NotReady,
    StoreError,
    StoreTrouble,
    StoreUnavailable,
    UnknownLogin,
    UnknownTool,
    UpstreamUnavailable,
)
from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import (
    ClientRegistration,
    Grant,
    RegistrationSource,
    Secret,
    TokenSet,
    Transport,
    Upstream,
)
from mcpproxy.core.ports import CallLoad, LoginFlow, LoginWay, ToolEntry
from mcpproxy.observability.bus import Bus
from mcpproxy.observability.metrics import Metrics
from mcpproxy.observability.monitor import Monitor
from mcpproxy.web.doctor import Check, CheckState
from mcpproxy.web.guard import GuardRules
from mcpproxy.web.parts import DaemonFacts, NewServer, WebParts

NOW = datetime(2026, 1, 12, 14, 5, tzinfo=UTC)
KEY = "the-api-key-of-these-tests"
ACCESS_CANARY = "access-canary-5d41402abc4b2a76"
REFRESH_CANARY = "refresh-canary-b9719d911017c592"
CLIENT_CANARY = "client-canary-7d793037a0760186"


class ManualClock:
    """Stands still until it is told to go."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now
        self.ran = timedelta()

    def now(self) -> datetime:
        return self.time

    def elapsed(self) -> timedelta:
        return self.ran

    def suspended(self) -> timedelta:
        return timedelta()

    def advance(self, by: timedelta) -> None:
        self.time += by
        self.ran += by


def grant(server: str, *, issued_at: datetime, life: timedelta | None) -> Grant:
    """A login whose tokens are canaries."""
    return Grant(
        server=server,
        server_url=f"https://{server}.example/mcp",
        issuer="https://provider.example",
        token_endpoint="https://provider.example/token",
        client=ClientRegistration(
            issuer="https://provider.example",
            client_id="client-1",
            source=RegistrationSource.DYNAMIC,
            redirect_uri="http://127.0.0.1:33418/oauth/callback",
            client_secret=Secret(CLIENT_CANARY),
        ),
        tokens=TokenSet(
            access_token=Secret(ACCESS_CANARY),
            refresh_token=Secret(REFRESH_CANARY),
            issued_at=issued_at,
            expires_at=issued_at + life if life else None,
            scope="mcp offline_access",
        ),
        logged_in_at=issued_at,
        login_id=f"login-{server}",
    )


@dataclass
class World:
    """All ports of the web floor. Tests put facts in and read what was done."""

    clock: ManualClock = field(default_factory=ManualClock)
    servers: dict[str, Upstream] = field(default_factory=dict)
    grant_facts: dict[str, Grant] = field(default_factory=dict)
    connection_facts: dict[str, Connection] = field(default_factory=dict)
    flows: dict[str, LoginFlow] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)
    ledger: dict[str, list[LedgerLine]] = field(default_factory=dict)
    ledger_trouble: StoreUnavailable | None = None
    stored_trouble: StoreError | None = None
    trouble: StoreTrouble | None = None
    flow_changed: asyncio.Event = field(default_factory=asyncio.Event)
    line_written: asyncio.Event = field(default_factory=asyncio.Event)
    is_ready: bool = True
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    records: list[CallRecord] = field(default_factory=list)
    held_facts: list[HeldTool] = field(default_factory=list)
    control: Control = field(default_factory=Control)
    strong: set[tuple[str, str]] = field(default_factory=set)
    timeouts: list[timedelta | None] = field(default_factory=list)

    def add_oauth(self, name: str, **changes: object) -> Grant:
        """A connected server with a login of an hour that began now."""
        self.servers[name] = Upstream(name, Transport.HTTP, url=f"https://{name}.example/mcp")
        made = grant(name, issued_at=self.clock.now(), life=timedelta(hours=1))
        self.grant_facts[name] = replace(made, **changes)  # type: ignore[arg-type]
        self.connection_facts[name] = Connection(ConnectionState.CONNECTED, tool_count=5)
        return self.grant_facts[name]

    # UpstreamDirectory, GrantFacts, ConnectionFacts
    def upstreams(self) -> Mapping[str, Upstream]:
        return dict(self.servers)

    def grant(self, server: str) -> Grant | None:
        return self.grant_facts.get(server)

    def grants(self) -> Sequence[Grant]:
        return tuple(self.grant_facts.values())

    def woken_at(self) -> datetime | None:
        return None

    def held_until(self, server: str) -> datetime | None:
        return None

    def damage(self, server: str) -> str | None:
        return None

    def store_trouble(self) -> StoreTrouble | None:
        return self.trouble

    def connection(self, server: str) -> Connection:
        return self.connection_facts.get(server, Connection())

    # LedgerBook
    async def load_ledger(self, server: str, limit: int) -> Sequence[LedgerLine]:
        if self.ledger_trouble is not None:
            raise self.ledger_trouble
        return self.ledger.get(server, [])[-limit:] if limit else []

    # ServerEditor
    async def add(self, server: NewServer) -> None:
        if server.name in self.servers:
            problem = f'mcpServers: the name "{server.name}" is taken'
            raise ConfigError("The server cannot be added.", problems=(problem,))
        self.servers[server.name] = Upstream(
            server.name,
            server.protocol,
            url=server.url,
            command=server.command,
            args=server.args,
            enabled=server.enabled,
        )

    async def remove(self, name: str) -> None:
        del self.servers[name]

    async def enable(self, name: str) -> None:
        self.servers[name] = replace(self.servers[name], enabled=True)

    async def disable(self, name: str) -> None:
        self.servers[name] = replace(self.servers[name], enabled=False)

    async def approve(self, name: str) -> None:
        self.servers[name] = replace(self.servers[name], quarantined=False)

    async def quarantine(self, name: str) -> None:
        self.servers[name] = replace(self.servers[name], quarantined=True)

    async def enable_tools(self, name: str, pattern: str) -> str | None:
        self.done.append(f"enable {name}:{pattern}")
        return "Still disabled by: *." if pattern == "delete_one" else None

    async def disable_tools(self, name: str, pattern: str) -> None:
        self.done.append(f"disable {name}:{pattern}")

    # ToolControl
    def standing(self, server: str, tool: str) -> Standing:
        return self.standings.get((server, tool), Standing.ABSENT)

    def owner_of(self, name: str) -> tuple[str, str] | None:
        server, separator, tool = name.partition("__")
        return (server, tool) if separator else None

    def passes(self, profile: Profile, server: str, tool: str) -> bool:
        return profile.max_tier is None or (server, tool) not in self.strong

    async def held_tools(self, server: str | None = None) -> Sequence[HeldTool]:
        if self.stored_trouble is not None:
            raise self.stored_trouble
        return [each for each in self.held_facts if server in (None, each.server)]

    async def approve_tools(self, server: str, digests: Sequence[tuple[str, str]]) -> None:
        for tool, digest in digests:
            known = [each for each in self.held_facts if (each.server, each.tool) == (server, tool)]
            if not known:
                raise UnknownTool(f"{server}:{tool} does not wait", next_step="Look first.")
            if known[0].digest != digest:
                raise NotReady(f"{server}:{tool} has changed again", next_step="Look again.")
            self.held_facts.remove(known[0])

    # ActivityBook
    async def calls(self, wanted: CallFilter, limit: int) -> Sequence[CallRecord]:
        return [each for each in reversed(self.records) if _is_wanted(wanted, each)][:limit]

    async def calls_after(
        self, wanted: CallFilter, number: int, limit: int
    ) -> Sequence[CallRecord]:
        found = [each for each in self.records if _is_wanted(wanted, each)]
        return [each for each in found if each.number > number][:limit]

    # UpstreamControl, RefreshControl
    async def restart(self, server: str) -> None:
        self.done.append(f"restart {server}")

    def tools(self, server: str | None = None) -> Sequence[ToolEntry]:
        definition = b'{"name":"echo","x-unknown":1e400}'
        return [
            ToolEntry(name, "echo", "Says it back", definition)
            for name in sorted(self.servers)
            if server in (None, name)
        ]

    async def search_tools(self, query: str, limit: int) -> Sequence[tuple[ToolEntry, float]]:
        return [(entry, 1.0) for entry in self.tools() if query in entry.description][:limit]

    async def call_tool(
        self,
        server: str,
        tool: str,
        arguments: bytes,
        *,
        timeout: timedelta | None = None,
        request_id: str = "",
    ) -> bytes:
        self.timeouts.append(timeout)
        if tool == "gone":
            raise UpstreamUnavailable("It is not connected.", next_step="It comes back by itself.")
        text = json.dumps(arguments.decode()).encode()
        return b'{"content":[{"type":"text","text":%b}],"kept":12345678901234567890123}' % text

    async def refresh_now(self, server: str) -> Grant:
        found = self.grant_facts.get(server)
        if found is None:
            raise LoginRequired(
                f"{server} has no login.", next_step=f"mcpproxy auth login {server}"
            )
        self.grant_facts[server] = replace(
            found, generation=found.generation + 1, refreshed_at=self.clock.now()
        )
        return self.grant_facts[server]

    # LoginDesk
    async def begin(self, server: str, way: LoginWay | None = None) -> LoginFlow:
        device = way is LoginWay.DEVICE
        flow = LoginFlow(
            flow_id=f"flow-{server}",
            server=server,
            authorization_url=f"https://provider.example/authorize?state=s-{server}",
            expires_at=self.clock.now() + timedelta(minutes=10),
            user_code="WDJB-MJHT" if device else None,
            verification_uri="https://provider.example/device" if device else None,
        )
        self.flows[flow.flow_id] = flow
        self.done.append(f"login {server}")
        return flow

    def settle(self, server: str, outcome: str, code: str | None = None, message: str = "") -> None:
        flow_id = f"flow-{server}"
        self.flows[flow_id] = replace(
            self.flows[flow_id], outcome=outcome, code=code, message=message
        )
        self.flow_changed.set()

    async def finish(self, redirect: str) -> LoginFlow:
        for flow in self.flows.values():
            if f"state=s-{flow.server}" in redirect and flow.outcome is None:
                self.settle(flow.server, "succeeded", message="Logged in.")
                return self.flows[flow.flow_id]
        raise UnknownLogin("This login is not known here.", next_step="Begin again.")

    async def wait(self, flow_id: str, timeout: timedelta) -> LoginFlow:
        flow = self.flows.get(flow_id)
        if flow is None:
            raise UnknownLogin("This login is not known here.", next_step="Begin again.")
        if flow.outcome is None:
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    await self.flow_changed.wait()
            except TimeoutError:
                pass
        return self.flows[flow_id]

    def pending(self, server: str) -> LoginFlow | None:
        flow = self.flows.get(f"flow-{server}")
        return flow if flow is not None and flow.outcome is None else None

    async def logout(self, server: str) -> str | None:
        if self.stored_trouble is not None:
            raise self.stored_trouble
        self.grant_facts.pop(server, None)
        self.done.append(f"logout {server}")
        return None

    # LogLines
    def tail(self, server: str, lines: int) -> Sequence[str]:
        return self.lines.get(server, [])[-lines:] if lines else []

    async def follow(self, server: str) -> AsyncIterator[str]:
        seen = len(self.lines.get(server, []))
        while True:
            await self.line_written.wait()
            self.line_written.clear()
            for line in self.lines[server][seen:]:
                seen += 1
                yield line

    async def checks(self) -> Sequence[Check]:
        return [Check(name="config", state=CheckState.OK, found="no problems")]

    def about(self) -> DaemonFacts:
        return DaemonFacts(
            version="0.1.0",
            pid=4711,
            listen="127.0.0.1:8080",
            endpoint="http://127.0.0.1:8080/mcp",
            started_at=NOW,
            data_dir="/data",
            config_path="/data/mcp_config.json",
            store="SQLite /data/vault.db",
            key_location="/data/mcp_config.json",
            routing_mode="retrieve_tools",
        )


def _is_wanted(wanted: CallFilter, record: CallRecord) -> bool:
    return wanted.server in (None, record.server)


async def mcp_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"endpoint": scope["path"]})(scope, receive, send)


def web_parts(world: World, *, require_mcp_auth: bool = True) -> WebParts:
    """The real bus, monitor and metrics around the world's facts."""
    bus = Bus(world.clock)
    monitor = Monitor(world.clock, world, world, world, world.pending, bus, zone=UTC)
    loads = (CallLoad("github-mcp", 1, 2),)
    metrics = Metrics(
        world.clock, monitor.healths, world.grant, {"events": bus.depth}, lambda: loads
    )
    bus.hear(metrics.hear)
    rules = GuardRules(Secret(KEY), require_mcp_auth=require_mcp_auth)
    return WebParts(
        clock=world.clock,
        rules=lambda: rules,
        about=world.about,
        ready=lambda: world.is_ready,
        checks=world.checks,
        directory=world,
        editor=world,
        monitor=monitor,
        bus=bus,
        metrics=metrics,
        logs=world,
        grants=world,
        ledger=world,
        refresh=world,
        logins=world,
        connections=world,
        gateway=world,
        tools=world,
        control=lambda: world.control,
        activity=world,
        mcp=mcp_endpoint,
    )
