"""The people of the simulated world: they log in, and log in again when they were told to."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mcpproxy.core.model import ClientRegistration, Grant, RegistrationSource, Secret, TokenSet
from tests.simulation.answers import TELLS
from tests.simulation.authority import callback
from tests.simulation.provider import SCOPE, Login

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE: Final = (1.0, 3600.0)
"""How long people take to log in again, in seconds."""


def server_url(server: str) -> str:
    return f"https://{server}.example.com/mcp"


class People:
    """Whoever sits before a browser."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._log_in_at: dict[str, float] = {}

    async def log_in(self, login: Login) -> None:
        """A person logs in: a new grant in the place of whatever was there."""
        world, server = self._world, login.server
        world.provider.client(server)
        access, refresh = world.provider.log_in(login, world.now())
        grant = self._grant(login, access, refresh)
        world.trace("world", "LOGIN", server)
        world.forget_older(server)
        await world.vault.save_registration(grant.client)
        await world.vault.replace_grant(grant)
        world.remember(grant)
        world.checks.logged_in(server)
        for process in world.running()[:1]:
            process.manager.adopt(grant)

    async def log_in_again(self) -> int:
        """People whose login is over, and who were told so, log in again some time; how many of
        them lost it on the way.
        """
        world, lost, now = self._world, 0, self._world.now()
        for family in world.provider.families():
            if family.ended is None or not world.checks.is_noticed(family):
                continue
            log_in_at = self._log_in_at.setdefault(
                family.server, now + world.random.uniform(*PATIENCE)
            )
            if now >= log_in_at and world.disk.takes_writes():
                del self._log_in_at[family.server]
                lost += family.lost_in_transit
                await self.log_in(family.login)
        return lost

    def _grant(self, login: Login, access: str, refresh: str) -> Grant:
        world = self._world
        now = world.clock.now()
        expires_at = now + timedelta(seconds=login.life) if login.expiry in TELLS else None
        return Grant(
            server=login.server,
            server_url=server_url(login.server),
            issuer=login.issuer,
            token_endpoint=world.authority.issuer(login.issuer).token_endpoint,
            client=ClientRegistration(
                login.issuer,
                world.provider.client(login.server),
                RegistrationSource.DYNAMIC,
                callback(login.server),
            ),
            tokens=TokenSet(Secret(access), Secret(refresh), now, expires_at),
            logged_in_at=now,
            login_id=f"login-{login.server}-{world.now():.3f}",
            resource=login.resource,
            scope=SCOPE,
        )
