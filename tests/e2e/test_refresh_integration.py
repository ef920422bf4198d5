"""The heart of the product: a login, made once in a real browser, outlives every restart.

Against two real authorization servers, with their real login and consent pages.
"""

import signal
import time

import pytest

from tests.e2e.daemon import Server, caused_by, connected
from tests.e2e.world import FAST, NAME, SHORT, Builder, World, wait_past
from tests.peers.browser import browser_command
from tests.peers.process import wait_until

pytestmark = pytest.mark.anyio

RECONNECTED = 60.0  # seconds: the promise (SC-001)
AIM = 3.0
METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
KINDS = pytest.mark.parametrize("kind", ["oidc", "django"])


def logged_in_and_stopped_until_expiry(builder: Builder, kind: str) -> World:
    """A world whose daemon is down, with a stored access token that died meanwhile."""
    world = builder.world(kind, access_token_ttl=SHORT, policy=FAST)
    world.log_in()
    at = world.expiry()
    world.daemon.terminate()
    wait_past(at)
    return world


def is_refreshed(world: World) -> bool:
    return world.daemon.refreshes(NAME, "success") > 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "kill-9"])
@KINDS
async def test_oauth_server_survives_restart(
    kind: str, how: signal.Signals, builder: Builder
) -> None:
    world = builder.world(kind)
    daemon = world.daemon
    daemon.until(NAME, caused_by("login_required"))

    login = daemon.cli("auth", "login", NAME, BROWSER=browser_command(kind))
    assert login.returncode == 0, login.stdout + login.stderr
    daemon.until(NAME, connected)
    assert await world.whoami() == "alice"
    before = world.asked_of_a_person()

    begun = time.monotonic()
    daemon.restart(how)
    daemon.until(NAME, connected, deadline=RECONNECTED)
    took = time.monotonic() - begun
    print(f"{kind}, {how.name}: connected {took:.2f} s after the signal (aim {AIM:g} s)")

    assert await world.whoami() == "alice"
    assert took <= RECONNECTED
    assert world.asked_of_a_person() == before
    assert len(world.logins()) == 1
    assert not daemon.browser_was_opened()


@KINDS
async def test_an_access_token_that_expired_during_the_downtime_is_refreshed_at_once(
    kind: str, builder: Builder
) -> None:
    world = logged_in_and_stopped_until_expiry(builder, kind)
    refreshes = len(world.refreshes())

    begun = time.monotonic()
    world.daemon.start()
    world.daemon.until(NAME, connected, deadline=RECONNECTED)
    print(f"{kind}: connected {time.monotonic() - begun:.2f} s after the start, token expired")

    assert await world.whoami() == "alice"
    assert len(world.refreshes()) > refreshes
    assert len(world.logins()) == 1


async def test_a_refresh_at_the_start_does_not_wait_for_the_upstream(builder: Builder) -> None:
    world = logged_in_and_stopped_until_expiry(builder, "oidc")
    world.upstream.stop()

    world.daemon.start()
    wait_until(lambda: is_refreshed(world), deadline=10, what="refreshed without its upstream")
    assert world.daemon.server(NAME)["status"] != "connected"

    world.upstream.start()
    back = time.monotonic()
    world.daemon.until(NAME, connected, deadline=RECONNECTED)
    print(f"connected {time.monotonic() - back:.2f} s after the upstream came back")
    assert await world.whoami() == "alice"
    assert len(world.logins()) == 1


async def test_a_refresh_at_the_start_needs_no_metadata_of_the_provider(builder: Builder) -> None:
    world = logged_in_and_stopped_until_expiry(builder, "oidc")
    for path in METADATA:
        world.oidc.fault("status", status=500, path=path, times=None)

    world.daemon.start()
    world.daemon.until(NAME, connected)
    assert await world.whoami() == "alice"
    assert len(world.logins()) == 1


@KINDS
async def test_a_provider_that_is_down_at_the_start_costs_no_login(
    kind: str, builder: Builder
) -> None:
    def waits_for_the_provider(server: Server) -> bool:
        return bool(server["health"]["summary"] == "Refresh failed - network error")

    world = logged_in_and_stopped_until_expiry(builder, kind)
    world.provider.kill()

    world.daemon.start()
    found = world.daemon.until(NAME, waits_for_the_provider)
    assert found["health"]["level"] == "degraded"
    assert found["health"]["action"] == "retry"

    world.provider.start()
    back = time.monotonic()
    world.daemon.until(NAME, connected, deadline=RECONNECTED)
    print(f"{kind}: connected {time.monotonic() - back:.2f} s after the provider came back")
    assert await world.whoami() == "alice"
    assert len(world.logins()) == 1
