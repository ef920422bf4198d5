"""A process of its own on a vault: `python -m tests.storage.child DATA_DIR COMMAND ARGS`.

Prints one line for each fact the test waits for.
"""

import asyncio
import os
import resource
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime

from mcpproxy.core.errors import McpproxyError, StoreError
from mcpproxy.storage.engines import Opening, Vault, open_sqlite
from mcpproxy.storage.keys import KeyFile
from mcpproxy.storage.ownership import DaemonRecord, claim
from tests.storage.samples import a_grant

NOBODY = 65534


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> timedelta:
        return timedelta(seconds=clock_gettime(CLOCK_BOOTTIME))

    def suspended(self) -> timedelta:
        return timedelta()


async def open_here(data_dir: Path) -> Vault:
    return await open_sqlite(Opening(data_dir, KeyFile(data_dir / "vault.key"), SystemClock()))


def say(*words: object) -> None:
    print(*words, flush=True)


async def count_up(vault: Vault, times: int) -> None:
    """Add to a counter in the grant by compare-and-swap, as often as asked; say how it went."""
    done = lost = 0
    while done < times:
        grant = await vault.store.load_grant("github-mcp")
        assert grant is not None
        newer = replace(grant, refresh_count=grant.refresh_count + 1, revision=grant.revision + 1)
        if await vault.store.save_grant(newer, expected_revision=grant.revision):
            done += 1
        else:
            lost += 1
    say(done, lost)


async def count_under_lease(vault: Vault, times: int, file: Path) -> None:
    """Add to a number in a plain file that only the lease protects."""
    done = 0
    while done < times:
        hold = await vault.lease.acquire("counter", timedelta(seconds=40))
        if hold is None:
            await asyncio.sleep(0.001)
            continue
        number = int(file.read_text())
        await asyncio.sleep(0)
        file.write_text(str(number + 1))
        await vault.lease.release(hold)
        done += 1
    say(done)


async def main(data_dir: Path, command: str, *args: str) -> None:
    os.umask(int(os.environ.get("TEST_UMASK", "022"), 8))
    if command == "own":
        ownership = claim(data_dir)
        ownership.announce(DaemonRecord(os.getpid(), args[0], "2026-11-23T12:00:00Z"))
        say("owned")
        signal.pause()
    if command == "as-nobody" and os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        vault = await open_here(data_dir)
    except McpproxyError as error:
        say(type(error).__name__, getattr(error, "trouble", ""), error.message)
        return
    match command:
        case "open" | "as-nobody":
            say("open")
            grants = await vault.store.load_grants()
            say(*(grant.server for grant in grants))
        case "count":
            await count_up(vault, int(args[0]))
        case "count-under-lease":
            await count_under_lease(vault, int(args[0]), Path(args[1]))
        case "hold":
            hold = await vault.lease.acquire("github-mcp", timedelta(hours=1))
            say("held" if hold else "refused")
            signal.pause()
        case "die-in-transaction":
            say("dying")
            vault.store._database.write(
                lambda db: (  # type: ignore[attr-defined]
                    db.execute("DELETE FROM grants"),
                    os.kill(os.getpid(), signal.SIGKILL),
                )
            )
        case "fill-limited":
            limit = (data_dir / "vault.db").stat().st_size + 4096
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            try:
                for number in range(100):
                    await vault.store.replace_grant(a_grant(f"server-{number}"))
            except StoreError as error:
                say(type(error).__name__, error.trouble.value)
            say(*[grant.server for grant in await vault.store.load_grants()][:1])
    if command in ("open", "as-nobody"):
        try:
            await vault.store.replace_grant(a_grant("written"))
            say("written")
        except StoreError as error:
            say(type(error).__name__, error.trouble.value)
    await vault.store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
