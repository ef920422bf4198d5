"""A daemon, commands, bridges and other processes with custody, all on one data directory."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio

from tests.crash.ground import Policy, names
from tests.crash.killing import SCALED
from tests.crash.provider_process import ProviderProcess
from tests.crash.racers import Racers
from tests.crash.seeding import stored, token_index
from tests.crash.stage import servers, sow
from tests.e2e.daemon import PROGRAM, Daemon, connected
from tests.peers.mcp_client import connect_stdio, text
from tests.peers.process import ROOT, free_port

LOGINS = 6
REFRESHES = 40
"""Those that must have happened before it is over."""

Command = tuple[str, ...]


def commands(name: str) -> list[Command]:
    return [
        ("upstream", "list"),
        ("auth", "status"),
        ("status",),
        ("explain", name),
        ("tools", "call", name, "whoami"),
        ("tools", "list"),
    ]


async def call_through_bridges(daemon: Daemon, logins: list[str], times: int) -> None:
    """Two editors, each with a bridge of its own, call every server in turn."""

    async def one() -> None:
        command = [PROGRAM, "stdio"]
        env = daemon.command_environment()
        async with connect_stdio(command, env=env, cwd=ROOT) as client:
            for _ in range(times):
                for name in logins:
                    answer = await client.call_tool(f"{name}__whoami", {})
                    assert text(answer) == name

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(one)


def run_commands(daemon: Daemon, logins: list[str]) -> list[tuple[Command, int, str]]:
    """Every command beside every other; those that did not end well."""

    def run(command: Command) -> tuple[Command, int, str]:
        done: subprocess.CompletedProcess[str] = daemon.cli(*command)
        return command, done.returncode, done.stdout + done.stderr

    wanted = [command for name in logins[:2] for command in commands(name)]
    with ThreadPoolExecutor(3) as pool:
        return [ended for ended in pool.map(run, wanted) if ended[1] != 0]


def test_commands_bridges_and_a_daemon_share_a_data_directory(tmp_path: Path) -> None:
    logins = names(LOGINS, Policy.STRICT)
    with ProviderProcess(tmp_path, logins, life=4.0) as provider:
        provider.behave(hold=(0.0, 0.2))
        sow(provider, tmp_path / "data", life=4, spread=3)
        daemon = Daemon(
            tmp_path,
            servers=servers(provider, logins),
            oauth_refresh=SCALED,
            routing_mode="direct",
        )
        with daemon, Racers(daemon.data_dir, 3) as racers:
            for name in logins:
                daemon.until(name, connected)
            with ThreadPoolExecutor(1) as aside:
                calls = aside.submit(anyio.run, call_through_bridges, daemon, logins, 5)
                failed = run_commands(daemon, logins)
                calls.result()
            provider.wait_for(REFRESHES, deadline=60)
            assert racers.end() == 0
            for name in logins:
                daemon.until(name, connected)
            daemon.terminate()
        seen, grants = provider.record(), stored(daemon.data_dir)

    assert not failed
    assert len(seen.presentations) == seen.accepted() >= REFRESHES
    assert not seen.repeated()
    assert {name: token_index(grants[name]) for name in logins} == {
        name: count + 1 for name, count in seen.rotations().items()
    }


def test_a_second_daemon_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    logins = names(LOGINS, Policy.STRICT)
    with ProviderProcess(tmp_path, logins, life=3.0) as provider:
        provider.behave(hold=(0.3, 0.6))
        sow(provider, tmp_path / "data", life=1)
        with Daemon(
            tmp_path, servers=servers(provider, logins[:1]), oauth_refresh=SCALED
        ) as daemon:
            provider.wait_for(1, deadline=30)  # while it is busy with its logins
            pid = daemon.process.pid
            second = daemon.cli("serve", f"--listen=127.0.0.1:{free_port()}")
            provider.wait_for(2 * LOGINS, deadline=30)
            assert connected(daemon.until(logins[0], connected))
        seen = provider.record()
    assert second.returncode == 3, second.stdout + second.stderr
    assert f"process {pid}, listening on 127.0.0.1:{daemon.port}" in second.stderr
    assert len(seen.presentations) == seen.accepted()
    assert not seen.repeated()
