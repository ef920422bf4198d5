"""Servers of all kinds side by side behind one endpoint, judged by the official SDK's client."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client
from mcp.types import ToolListChangedNotification

from tests.e2e.daemon import PROGRAM, Daemon, connected
from tests.e2e.world import Stage
from tests.peers import environment, everything, time_server
from tests.peers.everything import EverythingServer
from tests.peers.mcp_client import connect, connect_stdio, text
from tests.peers.process import ROOT, wait_until

pytestmark = pytest.mark.anyio

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
TIMES = {"timezone": "Europe/Berlin"}


def local(name: str, argv: list[str]) -> dict[str, Any]:
    return {"name": name, "command": argv[0], "args": argv[1:], "working_dir": str(ROOT)}


@pytest.fixture(scope="module")
def daemon(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon before five servers; the protected one is logged in to."""
    where = tmp_path_factory.mktemp("mixed")
    _, protected = stage.pair("oidc", 3600)
    with (
        EverythingServer(where) as over_http,
        EverythingServer(where, transport="sse") as over_sse,
        Daemon(
            where,
            servers=[
                {"name": "protected", "url": protected.url},
                local("local", everything.stdio_command()),
                {"name": "remote", "url": over_http.url, "protocol": "http"},
                {"name": "old", "url": over_sse.url},
                local("time", time_server.stdio_command()),
            ],
        ) as running,
    ):
        running.log_in("protected")
        for name in ("protected", "local", "remote", "old", "time"):
            running.until(name, connected, deadline=30)
        yield running


def tool_names(listing: Any) -> set[str]:
    return {tool.name for tool in listing.tools}


async def found(client: Client, query: str) -> dict[str, Any]:
    """The best tool that retrieve_tools finds."""
    answer = json.loads(text(await client.call_tool("retrieve_tools", {"query": query})))
    best: dict[str, Any] = answer["tools"][0]
    return best


@MODES
async def test_direct_mode_offers_every_tool_under_its_servers_name(
    mode: str, daemon: Daemon
) -> None:
    async with connect(f"{daemon.mcp_url}/all", headers=daemon.headers, mode=mode) as client:
        names = tool_names(await client.list_tools())
        assert {
            "protected__whoami",
            "local__echo",
            "remote__echo",
            "old__echo",
            "time__convert_time",
        } <= names
        who = json.loads(text(await client.call_tool("protected__whoami", {})))
        assert who["subject"] == "alice"
        for name in ("local", "remote", "old"):
            said = text(await client.call_tool(f"{name}__echo", {"message": f"to {name}"}))
            assert said == f"Echo: to {name}"
        now = json.loads(text(await client.call_tool("time__get_current_time", TIMES)))
        assert now["timezone"] == "Europe/Berlin"


@MODES
async def test_retrieve_tools_mode_finds_a_tool_and_calls_it(mode: str, daemon: Daemon) -> None:
    async with connect(daemon.mcp_url, headers=daemon.headers, mode=mode) as client:
        offered = tool_names(await client.list_tools())
        assert {"retrieve_tools", "describe_tool", "call_tool_read"} <= offered
        assert not any("__" in name for name in offered)

        clock = await found(client, "current time in a timezone")
        assert clock["name"] == "time:get_current_time"
        arguments = {"name": clock["name"], "args": TIMES}
        answer = json.loads(text(await client.call_tool(clock["call_with"], arguments)))
        assert answer["timezone"] == "Europe/Berlin"

        who = await found(client, "who the bearer token speaks for")
        assert who["name"] == "protected:whoami"
        answer = json.loads(
            text(await client.call_tool(who["call_with"], {"name": who["name"], "args": {}}))
        )
        assert answer["subject"] == "alice"


@MODES
async def test_one_server_alone_keeps_its_names(mode: str, daemon: Daemon) -> None:
    url = f"{daemon.mcp_url}/s/time"
    async with connect(url, headers=daemon.headers, mode=mode) as client:
        assert tool_names(await client.list_tools()) == {"get_current_time", "convert_time"}
        answer = json.loads(text(await client.call_tool("get_current_time", TIMES)))
        assert answer["timezone"] == "Europe/Berlin"


@MODES
async def test_the_stdio_bridge_offers_the_same(mode: str, daemon: Daemon) -> None:
    env = daemon.command_environment()
    async with connect_stdio([PROGRAM, "stdio"], env=env, mode=mode) as client:
        assert "retrieve_tools" in tool_names(await client.list_tools())
        arguments = {"name": "remote:echo", "args": {"message": "over the bridge"}}
        answer = await client.call_tool("call_tool_destructive", arguments)
        assert text(answer) == "Echo: over the bridge"


async def test_the_stdio_bridge_can_offer_one_server_alone(daemon: Daemon) -> None:
    argv = [PROGRAM, "stdio", "--server", "time"]
    async with connect_stdio(argv, env=daemon.command_environment()) as client:
        assert tool_names(await client.list_tools()) == {"get_current_time", "convert_time"}


async def test_nobody_without_the_key_gets_at_a_tool(daemon: Daemon) -> None:
    for path in ("", "/all", "/call", "/s/time"):
        with pytest.raises(BaseExceptionGroup):
            async with connect(daemon.mcp_url + path) as client:
                await client.list_tools()


async def test_clients_hear_of_a_server_that_a_command_adds_and_removes(daemon: Daemon) -> None:
    heard, changes = anyio.create_memory_object_stream[Any](100)

    async def listen(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            await heard.send(message)

    add = ("add", "late", "--working-dir", str(ROOT), "--", *environment.command())
    async with connect(
        f"{daemon.mcp_url}/all", headers=daemon.headers, mode="legacy", message_handler=listen
    ) as client:
        assert "late__pid" not in tool_names(await client.list_tools())
        for command, present in ((add, True), (("remove", "late"), False)):
            done = await anyio.to_thread.run_sync(partial(daemon.cli, "upstream", *command))
            assert done.returncode == 0, done.stdout + done.stderr
            with anyio.fail_after(15):
                await changes.receive()
                while ("late__pid" in tool_names(await client.list_tools())) != present:
                    await changes.receive()


async def test_a_killed_daemon_leaves_no_child_behind_and_calls_go_on_after_it(
    tmp_path: Path,
) -> None:
    with Daemon(
        tmp_path, servers=[local("kid", environment.command())], routing_mode="direct"
    ) as daemon:
        daemon.until("kid", connected)
        pids = []
        for _ in range(2):
            async with connect(daemon.mcp_url, headers=daemon.headers) as client:
                pids.append(int(text(await client.call_tool("kid__pid", {}))))
            if len(pids) == 1:
                os.kill(daemon.process.pid, 9)
                wait_until(
                    lambda: not Path(f"/proc/{pids[0]}").exists(),
                    deadline=10,
                    what="the child of a killed daemon is gone",
                )
                daemon.kill9()
                daemon.start()
                daemon.until("kid", connected)
        assert pids[0] != pids[1]
