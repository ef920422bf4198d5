"""Logins in a data directory, put there and read back by the product's own storage."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from mcpproxy.clock import SystemClock
from mcpproxy.core.ledger import MAX_LEDGER, LedgerLine
from mcpproxy.core.model import ClientRegistration, Grant, RegistrationSource, Secret, TokenSet
from mcpproxy.core.ports import Clock
from mcpproxy.storage.connection import Access
from mcpproxy.storage.engines import Opening, Vault, open_vault
from mcpproxy.storage.keys import KEY_SOURCES
from tests.crash.ground import Ground

CLOCK = SystemClock()


async def open_data(data_dir: Path, access: Access = Access.READ_WRITE) -> Vault:
    """The vault as the daemon opens it."""
    keys = KEY_SOURCES["file"](data_dir, os.environ)
    return await open_vault(Opening(data_dir, keys, CLOCK, access=access))


def a_login(
    ground: Ground, origin: str, name: str, *, life: timedelta, clock: Clock = CLOCK
) -> Grant:
    """What a login leaves behind: token set number 1, made now."""
    now = clock.now()
    return Grant(
        server=name,
        server_url=f"{origin}/mcp/{name}",
        issuer=origin,
        token_endpoint=f"{origin}/token",
        client=ClientRegistration(
            issuer=origin,
            client_id="crash-test",
            source=RegistrationSource.DYNAMIC,
            redirect_uri="http://127.0.0.1:49152/oauth/callback",
        ),
        tokens=TokenSet(
            access_token=Secret(ground.access_token(name, 1)),
            refresh_token=Secret(ground.refresh_token(name, 1)),
            issued_at=now,
            expires_at=now + life,
        ),
        logged_in_at=now,
        login_id=f"login-{name}",
    )


def seed(data_dir: Path, grants: Iterable[Grant]) -> None:
    """Store these logins."""

    async def store() -> None:
        vault = await open_data(data_dir)
        for grant in grants:
            await vault.store.replace_grant(grant)
        await vault.store.close()

    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(store())


def stored(data_dir: Path) -> dict[str, Grant]:
    """What is in the vault now, by server."""

    async def load() -> dict[str, Grant]:
        vault = await open_data(data_dir, Access.READ_ONLY)
        grants = {grant.server: grant for grant in await vault.store.load_grants()}
        await vault.store.close()
        return grants

    return asyncio.run(load())


def ledger(data_dir: Path, server: str) -> Sequence[LedgerLine]:
    """What the vault tells of this login's past, oldest first."""

    async def load() -> Sequence[LedgerLine]:
        vault = await open_data(data_dir, Access.READ_ONLY)
        lines = await vault.store.load_ledger(server, MAX_LEDGER)
        await vault.store.close()
        return lines

    return asyncio.run(load())


def token_index(grant: Grant) -> int:
    """Which of the provider's tokens it is that this login holds."""
    token = grant.tokens.refresh_token
    assert token is not None
    return int(token.reveal().split(".")[2])
