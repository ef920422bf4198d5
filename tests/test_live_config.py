"""The configuration in force, while its file changes."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mcpproxy.config.changes import Changes
from mcpproxy.config.load import load
from mcpproxy.config.locate import Flags, locate
from mcpproxy.config.settings import Settings
from mcpproxy.core.errors import ConfigError, UnknownServer
from mcpproxy.core.model import Secret
from mcpproxy.core.notices import ConfigReloaded, Notice
from mcpproxy.live_config import LiveConfig
from mcpproxy.web.parts import NewServer
from tests.peers import machine

pytestmark = pytest.mark.anyio

ENVIRON: Mapping[str, str] = {}


class Heard:
    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.applied: list[Changes] = []
        self.reloaded = asyncio.Event()

    def publish(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.reloaded.set()

    async def once(self) -> None:
        """Until something is told that was not waited for yet."""
        await self.reloaded.wait()
        self.reloaded.clear()

    async def apply(self, settings: Settings, changes: Changes) -> None:
        self.applied.append(changes)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def live(tmp_path: Path, heard: Heard) -> LiveConfig:
    path = tmp_path / "mcp_config.json"
    path.write_text(
        json.dumps({"api_key": "k" * 43, "mcpServers": [{"name": "one", "command": "one"}]})
    )
    location = locate(Flags(config=str(path), data_dir=str(tmp_path)), ENVIRON)
    made = LiveConfig(location, ENVIRON, load(location, ENVIRON), heard)
    made.on_change(heard.apply)
    return made


def written(live: LiveConfig) -> dict[str, object]:
    found: dict[str, object] = json.loads(live.settings.config_path.read_text())
    return found


async def test_an_added_server_is_in_the_file_and_in_force_when_add_returns(
    live: LiveConfig, heard: Heard
) -> None:
    await live.add(NewServer("two", url="https://two.example.com/mcp", client_id="mine"))
    assert set(live.upstreams()) == {"one", "two"}
    assert heard.applied == [Changes(added=("two",))]
    assert heard.notices == [ConfigReloaded(("two",))]
    servers = written(live)["mcpServers"]
    assert isinstance(servers, list)
    assert servers[1] == {
        "name": "two",
        "url": "https://two.example.com/mcp",
        "oauth": {"client_id": "mine"},
    }


async def test_edits_made_at_once_are_all_made(live: LiveConfig) -> None:
    names = [f"server-{number}" for number in range(12)]
    async with asyncio.TaskGroup() as adding:
        for name in names:
            adding.create_task(live.add(NewServer(name, command="x")))
    servers = written(live)["mcpServers"]
    assert isinstance(servers, list)
    assert sorted(each["name"] for each in servers) == sorted(["one", *names])
    assert sorted(live.upstreams()) == sorted(["one", *names])


async def test_a_server_is_disabled_enabled_approved_and_removed(live: LiveConfig) -> None:
    await live.disable("one")
    assert live.upstreams()["one"].enabled is False
    await live.enable("one")
    assert live.upstreams()["one"].enabled is True
    await live.approve("one")
    assert live.upstreams()["one"].quarantined is False
    await live.remove("one")
    assert live.upstreams() == {}


async def test_a_refused_edit_changes_nothing(live: LiveConfig, heard: Heard) -> None:
    before = live.settings.config_path.read_bytes()
    with pytest.raises(ConfigError):
        await live.add(NewServer("one", command="again"))
    with pytest.raises(ConfigError):
        await live.add(NewServer("Bad Name", command="x"))
    with pytest.raises(UnknownServer):
        await live.remove("nobody")
    assert live.settings.config_path.read_bytes() == before
    assert heard.applied == []


async def test_another_key_in_a_key_file_is_taken_up_and_one_that_comes_later_too(
    live: LiveConfig, heard: Heard
) -> None:
    path = live.settings.config_path.parent / "api.pem"
    oauth = {"client_id": "c", "private_key_file": path.name}
    server = {"name": "api", "url": "https://api.example/mcp", "oauth": oauth}
    following = asyncio.create_task(live.follow())
    try:
        async with asyncio.timeout(60):
            live.settings.config_path.write_text(
                json.dumps({"api_key": "k" * 43, "mcpServers": [server]})
            )
            await heard.once()
            assert live.upstreams()["api"].problem is not None
            for key in (machine.pem(machine.ec_key()), machine.pem(machine.ec_key())):
                path.write_text(key)
                await heard.once()
                found = live.upstreams()["api"].oauth
                assert found is not None
                assert found.private_key == Secret(key)
    finally:
        following.cancel()
    assert heard.notices == [ConfigReloaded(("api", "one")), *[ConfigReloaded(("api",))] * 2]


async def test_an_edit_by_hand_is_taken_up(live: LiveConfig, heard: Heard) -> None:
    following = asyncio.create_task(live.follow())
    good = {"api_key": "k" * 43, "mcpServers": [{"name": "new", "command": "x"}]}
    try:
        async with asyncio.timeout(20):
            live.settings.config_path.write_text(json.dumps(good))
            await heard.reloaded.wait()
    finally:
        following.cancel()
    assert heard.applied == [Changes(added=("new",), removed=("one",))]


async def test_an_edit_made_while_the_daemon_starts_is_taken_up(
    live: LiveConfig, heard: Heard
) -> None:
    found = written(live) | {"mcpServers": [{"name": "new", "command": "x"}]}
    live.settings.config_path.write_text(json.dumps(found))
    following = asyncio.create_task(live.follow())
    try:
        async with asyncio.timeout(20):
            await heard.reloaded.wait()
    finally:
        following.cancel()
    assert "new" in live.upstreams()


async def test_an_edit_that_does_not_load_is_logged_with_every_problem(live: LiveConfig) -> None:
    bad = {"api_key": "k" * 43, "listen": "nowhere", "mcpServers": [{"name": "Bad Name"}]}
    live.settings.config_path.write_text(json.dumps(bad))
    with capture_logs() as logged:
        following = asyncio.create_task(live.follow())
        async with asyncio.timeout(20):
            while not logged:  # noqa: ASYNC110 - a log has no event to wait for
                await asyncio.sleep(0.05)
        following.cancel()
    (line,) = logged
    assert line["event"] == "configuration not reloaded"
    assert "2 problems" in line["reason"]
    assert "listen: " in line["problems"]
    assert "mcpServers[0].name: " in line["problems"]
    assert set(live.upstreams()) == {"one"}


async def test_a_new_api_key_is_in_force_at_once(live: LiveConfig, heard: Heard) -> None:
    """A key that leaked is taken back by an edit, without a restart."""
    new = "n" * 43
    live.settings.config_path.write_text(json.dumps(written(live) | {"api_key": new}))
    following = asyncio.create_task(live.follow())
    async with asyncio.timeout(20):
        await heard.reloaded.wait()
    following.cancel()
    assert live.settings.api_key == Secret(new)
    assert heard.applied == [Changes(settings=("api_key",))]


async def test_what_is_read_at_the_start_only_stays_as_it_was(live: LiveConfig) -> None:
    listen = live.settings.listen
    found = written(live)
    found["listen"] = "127.0.0.1:9999"
    live.settings.config_path.write_text(json.dumps(found))
    await live.disable("one")
    assert live.settings.listen == listen
    assert live.upstreams()["one"].enabled is False
