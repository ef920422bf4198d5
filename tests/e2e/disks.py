"""Stories of disks that are full or read-only; test_bad_input.py runs them where it may mount."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import caused_by, connected
from tests.e2e.world import FAST, NAME, Builder, Stage, World
from tests.peers.process import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(stage: Stage, tmp_path: Path) -> Iterator[World]:
    """A world that is logged in, with its data directory on a disk of one megabyte."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(data_dir)]
    subprocess.run(mount, check=True)
    try:
        with Builder(stage, tmp_path) as builder:
            made = builder.world(policy=FAST)
            made.log_in()
            yield made
    finally:
        subprocess.run(["umount", "--lazy", str(data_dir)], check=True)


def remount(directory: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """A file that leaves no byte free."""
    path = directory / "a-big-download"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return path


async def test_a_full_disk_stops_no_call_and_loses_no_login(world: World) -> None:
    big = fill(world.daemon.data_dir)
    world.begin_refresh()
    server = world.daemon.until(NAME, lambda found: "writes" in found["health"]["summary"])
    assert server["health"]["line"] == "Store does not take writes: the disk is full"
    assert server["health"]["level"] == "degraded"
    assert server["status"] == "connected"
    assert world.daemon.rest("GET", "/status")["store_trouble"] == "full"
    assert await world.whoami() == "alice"

    login = world.daemon.cli("auth", "login", NAME, "--no-browser", "--timeout", "5")
    assert login.returncode == 1, login.stdout + login.stderr
    assert "the disk is full" in login.stderr
    assert "Next: free some space" in login.stderr
    assert not world.refreshes()

    big.unlink()
    world.daemon.until(NAME, connected)
    wait_until(
        lambda: world.daemon.refreshes(NAME, "success") == 1, deadline=15, what="refreshed at last"
    )
    assert await world.whoami() == "alice"
    world.daemon.restart()
    world.daemon.until(NAME, connected)
    assert len(world.logins()) == 1


async def test_a_read_only_disk_serves_what_is_stored_and_takes_no_login(world: World) -> None:
    daemon = world.daemon
    daemon.terminate()
    remount(daemon.data_dir, "ro")
    daemon.start()
    daemon.until(NAME, connected)
    assert await world.whoami() == "alice"

    world.begin_refresh()
    server = daemon.until(NAME, caused_by("store_unwritable"))
    assert server["health"]["line"] == "Store does not take writes: the disk is read-only"
    login = daemon.cli("auth", "login", NAME, "--no-browser", "--timeout", "5")
    assert login.returncode == 1, login.stdout + login.stderr
    assert "cannot be written" in login.stderr
    assert "Next: " in login.stderr
    assert not world.refreshes()

    remount(daemon.data_dir, "rw")
    daemon.until(NAME, connected)
    wait_until(
        lambda: daemon.refreshes(NAME, "success") == 1, deadline=15, what="refreshed at last"
    )
    assert await world.whoami() == "alice"
    assert len(world.logins()) == 1
