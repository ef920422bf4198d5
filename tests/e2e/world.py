"""A provider, a server behind it and the daemon in front of both: what most stories begin with.

Providers and servers take seconds to start, so they are shared; the daemon is each test's own.
"""

import json
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client

from tests.e2e.daemon import Daemon, connected
from tests.peers import machine
from tests.peers.django_oauth_toolkit import DjangoProvider
from tests.peers.mcp_client import connect, text
from tests.peers.oidc_provider import OidcProvider
from tests.peers.process import wait_until
from tests.peers.protected_mcp_server import ProtectedMcpServer
from tests.peers.record import Request

Provider = OidcProvider | DjangoProvider

NAME = "protected"
LONG = 3600
SHORT = 4
"""Lives of access tokens, in seconds; a proactive refresh is due at 80 % of them."""
FAST = {
    "min_interval": "1s",
    "backoff_base": "1s",
    "backoff_cap": "2s",
    "confirm_after": "1s",
    "probe_after": "3s",
}
"""A quicker policy, for tests that wait for a second attempt; the shape stays the same."""


@dataclass(frozen=True, slots=True)
class World:
    """`protected` behind `provider`, reached through `daemon`, whose tools are `protected__…`.

    `seen` is how many requests the provider had recorded before.
    """

    provider: Provider
    upstream: ProtectedMcpServer
    daemon: Daemon
    seen: int

    @property
    def oidc(self) -> OidcProvider:
        """The provider, where only node oidc-provider will do."""
        assert isinstance(self.provider, OidcProvider)
        return self.provider

    def client(self, mode: str = "auto") -> AbstractAsyncContextManager[Client]:
        """The official SDK's client of the daemon's endpoint."""
        return connect(self.daemon.mcp_url, headers=self.daemon.headers, mode=mode)

    async def whoami(self) -> str:
        """Who the upstream takes us for, asked through /mcp by the official SDK's client."""
        async with self.client() as client:
            answer = json.loads(text(await client.call_tool(f"{NAME}__whoami", {})))
        return str(answer["subject"])

    def log_in(self, user: str = "alice") -> None:
        """A login in which nothing but its outcome matters."""
        self.daemon.log_in(NAME, user)
        self.daemon.until(NAME, connected)

    def begin_refresh(self) -> None:
        """Ask for a refresh now, and do not wait for what comes of it."""
        with suppress(httpx2.ReadTimeout):
            self.daemon.request("POST", f"/servers/{NAME}/refresh", {}, timeout=0.3)

    def requests(self) -> Sequence[Request]:
        """What the provider did in this test."""
        return self.provider.requests()[self.seen :]

    def refreshes(self) -> Sequence[Request]:
        return [found for found in self.requests() if found.grant_type == "refresh_token"]

    def logins(self) -> Sequence[Request]:
        """Codes that were exchanged for tokens."""
        return [
            found
            for found in self.requests()
            if found.grant_type == "authorization_code" and found.succeeded
        ]

    def asked_of_a_person(self) -> int:
        """How often the provider did what only a login leads to: registrations and exchanges."""
        return sum(found.grant_type != "refresh_token" for found in self.requests())

    def expiry(self) -> str:
        """When the stored access token dies, as RFC 3339 in UTC."""
        at: str = self.daemon.server(NAME)["oauth"]["token_expires_at"]
        return at


def wait_past(at: str) -> None:
    """Wait until the wall clock is past an RFC 3339 time of UTC."""
    wait_until(
        lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > at,
        deadline=30,
        what=f"the clock past {at}",
    )


class Stage:
    """Providers and the servers behind them, started when they are first wanted. `key` is the one
    that the provider's client `signer` proves itself with; `machine` has a secret.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._pairs: dict[tuple[str, int], tuple[Provider, ProtectedMcpServer]] = {}
        self.key = machine.ec_key()

    def pair(self, kind: str, access_token_ttl: int) -> tuple[Provider, ProtectedMcpServer]:
        """`kind` is "oidc" or "django"; both rotate, the reuse of a spent token ends the grant."""
        key = (kind, access_token_ttl if kind == "django" else 0)
        if key not in self._pairs:
            where = self._directory / f"{kind}-{key[1]}"
            provider: Provider = (
                OidcProvider(
                    where,
                    clients=[machine.secret_client(), machine.key_client(self.key, "ES256")],
                )
                if kind == "oidc"
                else DjangoProvider(where, access_token_ttl=access_token_ttl, grace_period=0)
            )
            self._stack.enter_context(provider)
            server = self._stack.enter_context(ProtectedMcpServer(where, provider))
            self._pairs[key] = provider, server
        provider, server = self._pairs[key]
        for peer in (provider.process, server.process):
            if not peer.running:
                peer.start()
        server.clear_answers()
        if isinstance(provider, OidcProvider):
            provider.clear_faults()
            provider.configure(access_token_ttl=access_token_ttl)
        return provider, server

    def close(self) -> None:
        self._stack.close()


class Builder:
    """Makes worlds in a directory; their daemons end with it."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self._stage = stage
        self._directory = directory
        self._stack = ExitStack()

    def world(
        self,
        kind: str = "oidc",
        *,
        policy: dict[str, str] | None = None,
        access_token_ttl: int = LONG,
        **settings: Any,
    ) -> World:
        """See Stage.pair; `settings` are keys of the daemon's configuration."""
        provider, upstream = self._stage.pair(kind, access_token_ttl)
        seen = len(provider.requests())
        daemon = self._stack.enter_context(
            Daemon(
                self._directory,
                servers=[{"name": NAME, "url": upstream.url}],
                oauth_refresh=policy or {},
                **{"routing_mode": "direct", **settings},
            )
        )
        return World(provider, upstream, daemon, seen)

    def __enter__(self) -> "Builder":
        return self

    def __exit__(self, *about: Any) -> None:
        self._stack.__exit__(*about)
