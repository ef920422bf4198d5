"""Real processes on one vault: they race, die, lack rights and room, and nothing is lost."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mcpproxy.storage import processes
from mcpproxy.storage.holder import is_alive, this_process
from tests.storage.child import NOBODY, open_here
from tests.storage.samples import a_grant

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@contextmanager
def child(data_dir: Path, *command: str, umask: str = "022") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.storage.child", str(data_dir), *command],
        cwd=ROOT,
        env={**os.environ, "TEST_UMASK": umask},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.splitlines()


def told(data_dir: Path, *command: str, umask: str = "022") -> list[str]:
    with child(data_dir, *command, umask=umask) as process:
        return lines(process)


async def fill(data_dir: Path) -> None:
    vault = await open_here(data_dir)
    await vault.store.replace_grant(a_grant())
    await vault.store.close()


async def test_of_two_processes_no_save_is_lost(tmp_path: Path) -> None:
    await fill(tmp_path)
    with child(tmp_path, "count", "60") as one, child(tmp_path, "count", "60") as two:
        assert [line.split()[0] for line in lines(one) + lines(two)] == ["60", "60"]
    vault = await open_here(tmp_path)
    grant = await vault.store.load_grant("github-mcp")
    assert grant
    assert (grant.refresh_count, grant.revision) == (120, 120)
    await vault.store.close()


async def test_two_processes_never_hold_one_lease_at_once(tmp_path: Path) -> None:
    await fill(tmp_path)
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = ("count-under-lease", "40", str(counter))
    with child(tmp_path, *command) as one, child(tmp_path, *command) as two:
        assert lines(one) + lines(two) == ["40", "40"]
    assert counter.read_text() == "80"


async def test_processes_that_open_a_new_vault_at_once_share_one_key(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with child(data_dir, "open") as one, child(data_dir, "open") as two:
        for process in (one, two):
            assert lines(process)[0::2] == ["open", "written"]
    vault = await open_here(data_dir)
    assert [grant.server for grant in await vault.store.load_grants()] == ["written"]
    await vault.store.close()


async def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    vault = await open_here(tmp_path)
    with child(tmp_path, "hold") as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        assert await vault.lease.acquire("github-mcp", timedelta(seconds=40)) is None
        holder.kill()
        holder.wait()
        hold = await vault.lease.acquire("github-mcp", timedelta(seconds=40))
    assert hold
    assert hold.fence == 2
    await vault.store.close()


async def test_a_process_killed_inside_a_transaction_has_changed_nothing(tmp_path: Path) -> None:
    await fill(tmp_path)
    with child(tmp_path, "die-in-transaction") as process:
        process.communicate(timeout=60)
        assert process.returncode == -9
    vault = await open_here(tmp_path)
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


@pytest.mark.parametrize("umask", ["000", "022", "077", "277"])
async def test_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path, umask: str) -> None:
    data_dir = tmp_path / "data"
    assert told(data_dir, "open", umask=umask)[-1] == "written"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data_dir.iterdir()}
    assert modes == {"vault.db": 0o600, "vault.key": 0o600}
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


async def test_the_journal_is_its_owners_alone(tmp_path: Path) -> None:
    """A process killed inside a transaction leaves its journal to look at."""
    await fill(tmp_path)
    with child(tmp_path, "die-in-transaction", umask="000") as process:
        process.communicate(timeout=60)
    journal = tmp_path / "vault.db-journal"
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert b"canary" not in journal.read_bytes()


async def test_a_disk_without_room_refuses_the_write_and_serves_the_rest(tmp_path: Path) -> None:
    await fill(tmp_path)
    failure, kept = told(tmp_path, "fill-limited")
    assert failure.startswith("StoreUnavailable")
    assert kept == "github-mcp"
    vault = await open_here(tmp_path)
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


async def test_without_the_right_to_write_what_lives_is_served(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    await fill(data_dir)
    if os.geteuid() == 0:  # root may write anywhere: the child becomes somebody else
        for parent in (tmp_path, *tmp_path.parents):
            if parent == Path(tempfile.gettempdir()):
                break
            parent.chmod(0o755)
        for path in (data_dir, *data_dir.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    (data_dir / "vault.db").chmod(0o400)
    data_dir.chmod(0o500)
    assert told(data_dir, "as-nobody") == [
        "open",
        "github-mcp",
        "StoreUnavailable read_only",
    ]
    data_dir.chmod(0o700)


def test_a_directory_of_another_user_is_refused() -> None:
    (line,) = told(Path("/usr"), "as-nobody")
    assert line.startswith("NotPermitted")
    assert "/usr" in line


def test_this_process_is_alive_and_a_recycled_pid_is_not_taken_for_it() -> None:
    holder = this_process()
    assert is_alive(holder)
    assert not is_alive(replace(holder, pid_started="17"))
    assert is_alive(replace(holder, pid_started=""))


def test_a_process_of_another_boot_is_dead_and_one_in_another_container_is_not_known_to_be() -> (
    None
):
    holder = this_process()
    assert not is_alive(replace(holder, boot_id="another"))
    assert is_alive(replace(holder, pid_space="another", pid=2**22))


def test_a_process_that_ended_is_gone_even_before_it_is_reaped() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.read()
    while processes.started(process.pid) is not None:
        pass
    process.wait()
    assert processes.started(process.pid) is None
