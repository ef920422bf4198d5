"""What the real daemon does about a network that asks for a sign-in first."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.daemon import caused_by, connected
from tests.e2e.world import FAST, NAME, Builder
from tests.peers.process import wait_until

pytestmark = pytest.mark.anyio

PATIENT = {**FAST, "backoff_base": "100s", "backoff_cap": "100s"}


async def test_a_sign_in_page_is_named_and_gone_long_before_the_next_retry(
    builder: Builder,
) -> None:
    world = builder.world(policy=PATIENT)
    world.log_in()
    world.oidc.fault("status", status=302, body="<html>Sign in to the Wi-Fi</html>", times=None)
    world.begin_refresh()
    server = world.daemon.until(NAME, caused_by("refresh_sign_in_page"))
    assert server["health"]["line"].startswith("The network asks for a sign-in page first; ")
    planned = datetime.fromisoformat(server["oauth"]["next_refresh_at"])

    world.oidc.clear_faults()
    wait_until(
        lambda: world.daemon.refreshes(NAME, "success") == 1,
        deadline=60,
        what="refreshed once the provider itself answered again",
    )
    assert datetime.now(UTC) < planned - timedelta(seconds=20)
    world.daemon.until(NAME, connected)
    assert await world.whoami() == "alice"
    assert len(world.refreshes()) == 2
    assert len(world.logins()) == 1
