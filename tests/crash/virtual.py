"""A provider in virtual time over the ground truth, and custody's tools on a vault."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from mcpproxy.core.http import HttpReply, HttpRequest, NoReply
from mcpproxy.core.policy import DEFAULT_POLICY
from mcpproxy.core.ports import Publisher
from mcpproxy.custody.journal import Journal
from mcpproxy.custody.refresh import RefreshTools
from mcpproxy.oauth.token_endpoint import TokenEndpoint
from mcpproxy.storage.engines import Vault
from tests.crash.ground import ACCEPTED, Decision, Ground
from tests.crash.racer import Nobody
from tests.simulation.clock import SimClock

LIFE: Final = timedelta(minutes=5)
ISSUER: Final = "https://auth.example.com"
SHARED_MEMORY: Final = Path("/dev/shm")


def scratch() -> Path | None:
    """Where a vault costs least; None: where temporary files are."""
    return SHARED_MEMORY if SHARED_MEMORY.is_dir() else None


class VirtualProvider:
    """The port HttpSender: rotates, then takes its time to answer. `decided` is told at once."""

    def __init__(
        self,
        ground: Ground,
        chance: random.Random,
        decided: Callable[[Decision], None] = lambda decision: None,
    ) -> None:
        self._ground = ground
        self._chance = chance
        self._decided = decided
        self.decisions: list[Decision] = []

    async def exchange(
        self, request: HttpRequest, *, before_send: Callable[[], Awaitable[None]] | None = None
    ) -> HttpReply | NoReply:
        await asyncio.sleep(self._chance.uniform(0.01, 0.2))
        if before_send is not None:
            await before_send()
        token = parse_qs(request.body.decode())["refresh_token"][0]
        decision = self._ground.present(token, asyncio.get_running_loop().time())
        self.decisions.append(decision)
        self._decided(decision)
        await asyncio.sleep(self._chance.uniform(0.01, 0.2))
        if decision.verdict not in ACCEPTED:
            return _reply(400, {"error": "invalid_grant"})
        return _reply(
            200,
            {
                "access_token": self._ground.access_token(decision.grant, decision.issued),
                "refresh_token": self._ground.refresh_token(decision.grant, decision.issued),
                "token_type": "Bearer",
                "expires_in": LIFE.total_seconds(),
            },
        )


def _reply(status: int, body: dict[str, object]) -> HttpReply:
    return HttpReply(status, {"content-type": "application/json"}, json.dumps(body).encode())


def tools(
    vault: Vault,
    clock: SimClock,
    provider: VirtualProvider,
    chance: random.Random,
    publisher: Publisher | None = None,
) -> RefreshTools:
    """Custody's tools on this vault, at this provider."""
    told = publisher or Nobody()
    return RefreshTools(
        journal=Journal(vault.store, clock, told),
        lease=vault.lease,
        provider=TokenEndpoint(provider, clock),
        clock=clock,
        publisher=told,
        policy=DEFAULT_POLICY,
        holder="this process",
        new_attempt_id=lambda: f"{chance.getrandbits(64):x}",
        may_send=lambda: True,
    )
