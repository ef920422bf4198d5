"""Logging in and out by the command line, at real login pages: what is said and how it ends."""

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, Server, caused_by, connected
from tests.e2e.world import NAME, Builder, Stage, World
from tests.peers.browser import PASSWORD, browser_command, page
from tests.peers.forms import log_in_by_forms
from tests.peers.mcp_client import connect, text

pytestmark = pytest.mark.anyio


def logged_out(server: Server) -> bool:
    return bool(server["health"]["cause"] == "logged_out")


async def test_a_login_in_the_browser_ends_with_a_page_and_exit_code_0(builder: Builder) -> None:
    world = builder.world()
    login = world.daemon.cli("auth", "login", NAME, BROWSER=browser_command("oidc"))
    assert login.returncode == 0, login.stdout + login.stderr
    assert f"{world.provider.issuer}/auth?" in login.stdout
    assert f"Logged in to {NAME}." in login.stdout
    world.daemon.until(NAME, connected)
    status = world.daemon.cli("auth", "status", NAME, "-o", "json")
    found = json.loads(status.stdout)[0]
    assert (found["name"], found["authenticated"]) == (NAME, True)
    assert found["token_expires_at"] > found["next_refresh_at"] > found["logged_in_at"]


async def test_the_redirect_url_of_another_machine_can_be_pasted_back(builder: Builder) -> None:
    world = builder.world()
    login = world.daemon.spawn("auth", "login", NAME, "--no-browser")
    landing = log_in_by_forms(login.url(), unreachable="/oauth/callback")
    login.type("http://127.0.0.1/oauth/callback?code=of&state=nobody")
    login.type(landing.url)
    assert login.end() == 0, login.output()
    assert "That did not work:" in login.output()
    assert not world.daemon.browser_was_opened()
    world.daemon.until(NAME, connected)
    assert await world.whoami() == "alice"


async def test_a_person_who_says_no_at_the_consent_page_is_understood(builder: Builder) -> None:
    world = builder.world()
    login = world.daemon.spawn("auth", "login", NAME, "--no-browser")
    async with page() as opened:
        await opened.goto(login.url())
        await opened.fill("input[name=login]", "alice")
        await opened.fill("input[name=password]", PASSWORD)
        async with opened.expect_navigation():
            await opened.click("button[type=submit]")
        assert await opened.locator("input[name=prompt][value=consent]").count()
        async with opened.expect_navigation():
            await opened.click("a[href$='/abort']")
        shown = await opened.inner_text("body")
    assert "Not logged in" in shown
    assert login.end() == 1
    assert f"Error: Not logged in to {NAME}:" in login.output()
    assert f"Next: Try again: mcpproxy auth login {NAME}" in login.output()
    world.daemon.until(NAME, caused_by("login_required"))


async def test_waiting_ends_in_time_and_the_url_goes_on_working(builder: Builder) -> None:
    world = builder.world()
    login = world.daemon.spawn("auth", "login", NAME, "--no-browser", "--timeout", "1")
    url = login.url()
    assert login.end() == 1
    assert "Error: Nobody finished the login within 1 s." in login.output()
    assert world.daemon.server(NAME)["health"]["cause"] == "login_pending"

    log_in_by_forms(url)
    world.daemon.until(NAME, connected)


async def test_a_busy_callback_port_is_named(builder: Builder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        world = builder.world()
        uri = f"http://127.0.0.1:{port}/oauth/callback"
        world.daemon.write_config(
            mcpServers=[{"name": NAME, "url": world.upstream.url, "oauth": {"redirect_uri": uri}}]
        )
        world.daemon.restart()
        login = world.daemon.cli("auth", "login", NAME, "--no-browser")
        assert login.returncode == 2, login.stdout + login.stderr
        assert f"127.0.0.1:{port} is taken" in login.stderr
        assert f"Next: Free port {port}" in login.stderr
    world.log_in()


async def test_logins_in_parallel_do_not_disturb_each_other(stage: Stage, tmp_path: Path) -> None:
    _, one = stage.pair("oidc", 3600)
    _, two = stage.pair("django", 3600)
    servers = [{"name": "one", "url": one.url}, {"name": "two", "url": two.url}]
    with Daemon(tmp_path, servers=servers, routing_mode="direct") as daemon:
        first = daemon.spawn("auth", "login", "one", "--no-browser")
        second = daemon.spawn("auth", "login", "two", "--no-browser")
        urls = first.url(), second.url()
        log_in_by_forms(urls[1], "bob")
        assert second.end() == 0, second.output()
        log_in_by_forms(urls[0], "alice")
        assert first.end() == 0, first.output()
        async with connect(daemon.mcp_url, headers=daemon.headers) as client:
            for name, user in (("one", "alice"), ("two", "bob")):
                daemon.until(name, connected)
                who = json.loads(text(await client.call_tool(f"{name}__whoami", {})))
                assert who["subject"] == user


async def test_a_second_login_switches_the_account(builder: Builder) -> None:
    world = builder.world()
    for user in ("alice", "bob"):
        login = world.daemon.spawn("auth", "login", NAME, "--no-browser")
        log_in_by_forms(login.url(), user)
        assert login.end() == 0, login.output()
        world.daemon.until(NAME, connected)
        assert await world.whoami() == user


async def test_a_pending_login_outlives_the_daemon(builder: Builder) -> None:
    world = builder.world()
    flow = world.daemon.rest("POST", f"/servers/{NAME}/login", {})
    world.daemon.restart(signal.SIGKILL)
    log_in_by_forms(flow["auth_url"])
    world.daemon.until(NAME, connected)
    assert await world.whoami() == "alice"


def revocations(world: World) -> int:
    return sum("revo" in found.path for found in world.requests())


@pytest.mark.parametrize("kind", ["oidc", "django"])
async def test_a_logout_revokes_at_the_provider(kind: str, builder: Builder) -> None:
    world = builder.world(kind)
    world.log_in()
    done = world.daemon.cli("auth", "logout", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert revocations(world) >= 1
    world.daemon.until(NAME, logged_out)
    world.daemon.restart()
    assert not world.daemon.server(NAME)["oauth"]
    world.daemon.until(NAME, caused_by("logged_out"))
    assert "it was logged out" in world.daemon.cli("explain", NAME).stdout
    world.log_in()


async def test_a_logout_forgets_also_while_the_provider_is_down(builder: Builder) -> None:
    world = builder.world()
    world.log_in()
    world.provider.kill()
    done = world.daemon.cli("auth", "logout", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the provider did not confirm" in done.stdout + done.stderr
    world.daemon.until(NAME, logged_out)
    assert revocations(world) == 0


async def test_login_and_logout_say_what_is_wrong_with_the_name_or_the_daemon(
    builder: Builder,
) -> None:
    world = builder.world()
    for command in (("login",), ("logout",)):
        unknown = world.daemon.cli("auth", *command, "nobody")
        assert unknown.returncode == 12, unknown.stdout + unknown.stderr
        assert "nobody" in unknown.stderr
        assert "Next: " in unknown.stderr
    as_json = world.daemon.cli("auth", "login", "nobody", "-o", "json")
    assert json.loads(as_json.stdout)["error"]["code"] == "unknown_server"

    world.daemon.terminate()
    alone = world.daemon.cli("auth", "login", NAME)
    assert alone.returncode == 1
    assert "Error: No mcpproxy daemon " in alone.stderr
    assert "Next: Start one: mcpproxy serve" in alone.stderr


async def test_a_provider_that_cannot_be_found_is_said_at_the_login(builder: Builder) -> None:
    world = builder.world()
    world.daemon.until(NAME, caused_by("login_required"))
    world.provider.kill()
    login = world.daemon.cli("auth", "login", NAME, "--no-browser")
    assert login.returncode == 1, login.stdout + login.stderr
    assert "Error: " in login.stderr
    assert "Next: " in login.stderr
