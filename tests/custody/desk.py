"""A login desk on the custody bench: a provider's pages, a callback port and a person, as a test
wants them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from mcpproxy.core.errors import CallbackPortBusy, LoginDenied, LoginError
from mcpproxy.core.model import (
    Grant,
    GrantType,
    OAuthConfig,
    RegistrationSource,
    Secret,
    TokenSet,
    Upstream,
)
from mcpproxy.core.pending_login import DeviceCode, PendingLogin
from mcpproxy.core.policy import DEFAULT_POLICY
from mcpproxy.core.provider_ports import DeviceWait
from mcpproxy.custody.login import LoginTools, PendingLogins
from mcpproxy.custody.machine_login import MachineLogins, MachineTools
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from tests.builders import ISSUER, SERVER_URL, a_client, a_grant, a_token_set
from tests.custody.bench import NAME, Bench

PENDING_FOR = timedelta(minutes=10)
POLL_EVERY = timedelta(seconds=5)


@dataclass
class Pages:
    """The port LoginConversation: a provider that says yes, no, or nothing yet. `says` are its
    next answers to polls; it takes the credentials once it has nothing left to complain about.
    """

    bench: Bench
    gate: asyncio.Event | None = None
    presented: list[str] = field(default_factory=list)
    fails: LoginError | None = None
    says: list[Secret | DeviceWait] = field(default_factory=list)
    polls: list[datetime] = field(default_factory=list)
    seeded: list[datetime] = field(default_factory=list)
    seeding_fails: list[Exception] = field(default_factory=list)
    issuer: str = ISSUER
    _number: int = 0

    async def prepare(
        self, upstream: Upstream, redirect_uri: str, *, challenge: str | None = None
    ) -> PendingLogin:
        self._number += 1
        number, now = self._number, self.bench.clock.now()
        return PendingLogin(
            flow_id=f"flow-{number}",
            server=upstream.name,
            server_url=upstream.url or "",
            state=Secret(f"state-{number}"),
            code_verifier=Secret("verifier"),
            issuer=ISSUER,
            token_endpoint=f"{ISSUER}/token",
            client=a_client(),
            authorization_url=f"{ISSUER}/authorize?state=state-{number}",
            redirect_uri=redirect_uri,
            created_at=now,
            expires_at=now + PENDING_FOR,
        )

    async def prepare_device(
        self, upstream: Upstream, redirect_uri: str, *, challenge: str | None = None
    ) -> PendingLogin:
        login = await self.prepare(upstream, redirect_uri)
        code = f"CODE-{self._number}"
        page = f"{ISSUER}/device"
        return replace(
            login,
            authorization_url=f"{page}?user_code={code}",
            device=DeviceCode(Secret(f"device-{code}"), code, page, None, POLL_EVERY),
        )

    async def poll_device(self, login: PendingLogin) -> Secret | DeviceWait:
        assert login.device is not None
        self.polls.append(self.bench.clock.now())
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        if self.says:
            return self.says.pop(0)
        return DeviceWait(login.device.interval, login.device.interval)

    async def seed(self, upstream: Upstream, *, challenge: str | None = None) -> Grant:
        self.seeded.append(self.bench.clock.now())
        if self.seeding_fails:
            raise self.seeding_fails.pop(0)
        config, now = upstream.oauth or OAuthConfig(), self.bench.clock.now()
        self._number += 1
        return a_grant(
            upstream.name,
            tokens=TokenSet(Secret(""), None, issued_at=now, expires_at=now),
            client=replace(
                a_client(),
                client_id=config.client_id or "",
                client_secret=config.client_secret,
                private_key=config.private_key,
                source=RegistrationSource.CONFIGURED,
            ),
            server_url=upstream.url or "",
            login_id=f"machine-{self._number}",
            logged_in_at=now,
            scope=" ".join(config.scopes) or None,
            issuer=self.issuer,
            grant_type=GrantType.CLIENT_CREDENTIALS,
            revocation_endpoint=f"{ISSUER}/revoke",
        )

    def read_redirect(self, login: PendingLogin, redirect: str) -> str:
        query = parse_qs(urlsplit(redirect).query)
        if "error" in query:
            raise LoginDenied(f"The provider said {query['error'][0]}.")
        return query["code"][0]

    async def present_code(self, login: PendingLogin, code: str) -> Secret:
        self.presented.append(code)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return Secret(f"answer to {code}")

    def read_code_answer(self, login: PendingLogin, answer: Secret, now: datetime) -> Grant:
        number = int(login.flow_id.removeprefix("flow-"))
        return a_grant(
            login.server,
            tokens=a_token_set(number=number, issued_at=now),
            server_url=login.server_url,
            login_id=login.flow_id,
            logged_in_at=now,
            revocation_endpoint=f"{ISSUER}/revoke",
        )


@dataclass
class Port:
    """The port CallbackListener. `listening_on` counts who holds which redirect URI open."""

    is_busy: bool = False
    listening_on: dict[str, int] = field(default_factory=dict)
    receive: Callable[[str], Awaitable[str]] | None = None

    @asynccontextmanager
    async def listening(
        self, redirect_uri: str, receive: Callable[[str], Awaitable[str]]
    ) -> AsyncIterator[None]:
        if self.is_busy:
            raise CallbackPortBusy("the port is taken")
        self.receive = receive
        self.listening_on[redirect_uri] = self.listening_on.get(redirect_uri, 0) + 1
        try:
            yield
        finally:
            self.listening_on[redirect_uri] -= 1

    async def free_port(self) -> int:
        return 49152

    @property
    def held(self) -> int:
        return sum(self.listening_on.values())


class Desk:
    """PendingLogins with everything it works with, and a manager that takes its grants."""

    def __init__(self, bench: Bench, manager: RefreshManager) -> None:
        self.bench = bench
        self.manager = manager
        self.pages = Pages(bench)
        self.port = Port()
        self.upstreams = {
            NAME: Upstream(NAME, url=SERVER_URL),
            "jira-mcp": Upstream("jira-mcp", url="https://jira.example.com/mcp"),
            "local": Upstream("local", command="run-it"),
        }
        self.machine = MachineLogins(
            MachineTools(
                store=bench.disk,
                conversation=self.pages,
                clock=bench.clock,
                policy=DEFAULT_POLICY,
                upstreams=lambda: self.upstreams,
                challenge=lambda server: None,
                known=manager.grant,
                adopt=manager.adopt,
                log_out=lambda server: self.logins.logout(server),
                revoke=TokenEndpoint(bench.endpoint, bench.clock).revoke,
            )
        )
        manager.on_vanished(self.machine.apply)
        self.logins = self.restarted()

    def restarted(self) -> PendingLogins:
        """The desk of the next process: it knows what is in the store, no more."""
        return PendingLogins(
            LoginTools(
                store=self.bench.disk,
                lease=self.bench.tools().lease,
                conversation=self.pages,
                provider=TokenEndpoint(self.bench.endpoint, self.bench.clock),
                listener=self.port,
                clock=self.bench.clock,
                policy=DEFAULT_POLICY,
                publisher=self.bench.notices,
                upstreams=lambda: self.upstreams,
                challenge=lambda server: None,
                adopt=self.manager.adopt,
                forget=self.manager.forget,
                seed=self.machine.seed,
                stay_out=self.machine.stay_out,
                token=self.manager.token,
            )
        )


@asynccontextmanager
async def a_desk() -> AsyncIterator[Desk]:
    async with Bench() as bench:
        desk = Desk(bench, await bench.start())
        yield desk
        await desk.machine.stop()
        await desk.logins.stop()


def redirect(number: int, code: str = "code") -> str:
    """What the browser is sent to after a yes."""
    return f"http://127.0.0.1:49152/oauth/callback?state=state-{number}&code={code}"


def denial(number: int) -> str:
    return f"http://127.0.0.1:49152/oauth/callback?state=state-{number}&error=access_denied"


def with_revocation(grant: Grant) -> Grant:
    return replace(grant, revocation_endpoint=f"{ISSUER}/revoke")
