"""Disks that fail: no token that was received is lost, and no failure asks for a login."""

import asyncio
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mcpproxy.core.notices import LoginLost, Notice
from mcpproxy.custody.refresh_manager import RefreshManager
from mcpproxy.storage.engines import Opening, open_sqlite
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.runner import InlineRunner
from tests.crash.disks import answer_on_the_way_while
from tests.crash.ground import Ground, Policy, names, policies
from tests.crash.seeding import a_login, token_index
from tests.crash.virtual import ISSUER, LIFE, VirtualProvider, scratch, tools
from tests.custody.bench import Notices
from tests.peers.process import ROOT
from tests.proof import record
from tests.simulation.clock import SimClock
from tests.simulation.loop import run_virtually
from tests.storage.faulty import Faults, error

OUTAGE = 45.0
CODES = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
READS = ("SELECT", "PRAGMA", "BEGIN", "COMMIT", "ROLLBACK")


def test_an_answer_that_comes_while_every_write_fails_is_kept_until_it_can_be_stored(
    tmp_path: Path,
) -> None:
    """The system refuses the daemon to write a byte to any file (setrlimit(2), RLIMIT_FSIZE)."""

    def limit(pid: int, soft: int) -> None:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    answer_on_the_way_while(
        tmp_path,
        breaks=lambda pid: limit(pid, 0),
        heals=lambda pid: limit(pid, resource.RLIM_INFINITY),
    )


def test_a_disk_that_is_full_while_an_answer_is_on_the_way(tmp_path: Path) -> None:
    """The story of disk_stories.py, where mounting a small disk is allowed to anybody."""
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0:
        namespace[1:1] = ["--user", "--map-root-user"]
    pytest_there = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    story = "tests/crash/disk_stories.py"
    run = subprocess.run(
        [*namespace, *pytest_there, f"--basetemp={tmp_path / 'disks'}", story],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


# --- a fault at each statement of a refresh -----------------------------------------------------

Break = Callable[[Faults, int], None]


def _once_before(faults: Faults, number: int) -> None:
    """Statement `number` fails and does nothing."""
    seen = iter(range(1, 1 << 30))

    def check(sql: str) -> None:
        if next(seen) == number:
            raise error(sqlite3.SQLITE_IOERR)

    faults.before = check


def _once_after(faults: Faults, number: int) -> None:
    """Statement `number` does its work and says that it failed."""
    seen = iter(range(1, 1 << 30))

    def check(sql: str) -> None:
        if next(seen) == number:
            raise error(sqlite3.SQLITE_IOERR)

    faults.after = check


def _from_there_on(code: int) -> Break:
    def plant(faults: Faults, number: int) -> None:
        """From statement `number` on nothing can be written, for most of a minute."""
        seen, loop = iter(range(1, 1 << 30)), asyncio.get_running_loop()
        begun: list[float] = []

        def check(sql: str) -> None:
            if next(seen) >= number and not begun:
                begun.append(loop.time())
            if begun and loop.time() - begun[0] < OUTAGE and not sql.startswith(READS):
                raise error(code)

        faults.before = check

    return plant


async def one_login(directory: Path, plant: Break, number: int) -> int:
    """Keep a login with that fault at that statement; how many statements the first refresh has."""
    loop = asyncio.get_running_loop()
    clock, chance, (name,) = SimClock(loop), random.Random(1), names(1, Policy.STRICT)
    ground, notices, faults = Ground(1, policies([name])), Notices(), Faults()
    opening = Opening(directory, StaticKey(), clock, runner=InlineRunner, connect=faults.connect)
    vault, provider = await open_sqlite(opening), VirtualProvider(ground, chance)
    await vault.store.replace_grant(a_login(ground, ISSUER, name, life=LIFE, clock=clock))
    manager = RefreshManager(tools(vault, clock, provider, chance, notices))
    await manager.start()
    await asyncio.sleep(0.79 * LIFE.total_seconds())
    plant(faults, number)
    statements: list[int] = []
    before, after = faults.before, faults.after

    def counted(sql: str) -> None:
        statements.append(1)
        before(sql)

    faults.before, faults.after = counted, after
    await asyncio.sleep(0.04 * LIFE.total_seconds())
    count = len(statements)
    await asyncio.sleep(1.5 * LIFE.total_seconds())
    faults.heal()
    await asyncio.sleep(LIFE.total_seconds())
    grant = await vault.store.load_grant(name)
    await manager.stop()
    await vault.store.close()

    lost: list[Notice] = notices.of(LoginLost)
    assert not lost
    assert grant is not None
    assert [each.index for each in provider.decisions] == list(
        range(1, len(provider.decisions) + 1)
    )
    assert len(provider.decisions) >= 2
    assert token_index(grant) == len(provider.decisions) + 1
    return count


def test_a_disk_that_fails_at_any_statement_of_a_refresh_costs_nothing() -> None:
    def kept(plant: Break, number: int) -> int:
        with tempfile.TemporaryDirectory(dir=scratch(), prefix="mcpproxy-disk-") as directory:
            return run_virtually(one_login(Path(directory), plant, number))

    faults = 0
    for plant in (_once_before, _once_after, *map(_from_there_on, CODES)):
        statements = kept(plant, 1 << 20)
        assert statements > 20
        for number in range(1, statements + 1):
            kept(plant, number)
        faults += statements
    record(
        "disk",
        goal="a disk that fails, is full or read-only at any statement of a refresh loses no token",
        held=f"{faults} faults, one at each statement in turn; 0 logins lost, 0 tokens sent twice",
        figures={"faults": faults, "logins lost": 0, "false calls for a login": 0},
    )
