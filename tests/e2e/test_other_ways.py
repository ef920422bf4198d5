"""Logins at another device and with client credentials, by the real daemon at a real provider."""

import re
import signal
from typing import Any

import pytest

from tests.e2e.daemon import Server, caused_by, connected
from tests.e2e.world import FAST, NAME, Builder, Stage, World
from tests.peers import machine
from tests.peers.forms import log_in_by_forms
from tests.peers.mcp_client import text

pytestmark = pytest.mark.anyio


def with_credentials(world: World, **oauth: Any) -> None:
    """Configure the server as one that is reached with client credentials, while running."""
    server = {
        "name": NAME,
        "url": world.upstream.url,
        "oauth": {"grant_type": "client_credentials", "scopes": ["mcp"], **oauth},
    }
    world.daemon.write_config(mcpServers=[server])


async def test_a_person_at_another_device_logs_in_by_the_code_that_is_shown(
    builder: Builder,
) -> None:
    world = builder.world()
    login = world.daemon.spawn("auth", "login", NAME, "--device")
    assert login.url() == f"{world.provider.issuer}/device"
    shown = re.search(r"(http\S+user_code=\S+)", login.output())
    assert shown, login.output()
    log_in_by_forms(shown[1])
    assert login.end() == 0, login.output()
    assert f"Logged in to {NAME}." in login.output()
    assert not world.daemon.browser_was_opened()
    world.daemon.until(NAME, connected)
    assert await world.whoami() == "alice"


async def test_a_login_at_another_device_outlives_the_process_that_began_it(
    builder: Builder,
) -> None:
    world = builder.world()
    flow = world.daemon.rest("POST", f"/servers/{NAME}/login", {"way": "device"})
    assert world.daemon.server(NAME)["health"]["cause"] == "login_pending"
    world.daemon.restart(signal.SIGKILL)
    log_in_by_forms(flow["auth_url"])
    ended = world.daemon.rest("GET", f"/logins/{flow['flow_id']}?wait=20")
    assert ended["outcome"] == "succeeded", ended
    world.daemon.until(NAME, connected)


async def test_a_server_with_client_credentials_works_without_any_login(
    builder: Builder, stage: Stage
) -> None:
    world = builder.world(policy=FAST)
    (world.daemon.data_dir / "signer.pem").write_text(machine.pem(stage.key))
    with_credentials(world, client_id="signer", private_key_file="signer.pem")
    found = world.daemon.until(NAME, connected)
    assert found["health"]["line"].startswith("Token refresh scheduled")
    async with world.client() as client:
        assert "client_id" in text(await client.call_tool(f"{NAME}__whoami", {}))
    assert [request.grant_type for request in world.requests()] == ["client_credentials"]
    assert not world.daemon.browser_was_opened()

    again = world.daemon.cli("auth", "login", NAME)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout == f"Logged in to {NAME}.\n"

    world.daemon.write_config(mcpServers=[{"name": NAME, "url": world.upstream.url}])
    world.daemon.until(NAME, lambda server: bool(server["health"]["action"] == "login"))
    assert [request.path for request in world.requests()][-1] == "/token/revocation"


async def test_while_the_provider_is_down_credentials_are_no_matter_of_a_login(
    builder: Builder,
) -> None:
    world = builder.world(policy=FAST)
    world.provider.stop()
    with_credentials(world, client_id="machine", client_secret=machine.SECRET)
    found = world.daemon.until(NAME, caused_by("credentials_retrying"))
    assert found["health"]["line"].startswith("Fetching a token with client credentials: ")
    assert "retry in" in found["health"]["line"]
    world.provider.start()
    seen: list[Server] = []

    def back(server: Server) -> bool:
        seen.append(server)
        return connected(server)

    world.daemon.until(NAME, back, deadline=30)
    assert not [server["health"] for server in seen if server["health"]["action"] == "login"]
