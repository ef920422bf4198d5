"""The sqlite engine under faults: what is stored stays, what fails says so, rows fail alone."""

import asyncio
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mcpproxy.core.errors import (
    ConfigError,
    StoreError,
    StoreTrouble,
    StoreUnavailable,
)
from mcpproxy.storage.connection import Access, SqliteConnection, require_sqlite
from mcpproxy.storage.engines import Opening, open_vault
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.runner import InlineRunner, ThreadRunner
from tests.storage.faulty import Died, Faults, error, with_pragma
from tests.storage.samples import CANARIES, a_grant, a_grant_in_trouble, a_login, a_registration
from tests.storage.vaults import fill, open_here, sql
from tests.storage.worlds import HandClock

pytestmark = pytest.mark.anyio


# --- durability -----------------------------------------------------------------------------


async def test_the_vault_uses_a_rollback_journal_and_extra_synchronisation(tmp_path: Path) -> None:
    seen: list[str] = []
    faults = Faults()
    faults.after = seen.append
    vault = await open_here(tmp_path, connect=faults.connect)
    assert "PRAGMA synchronous = EXTRA" in seen
    assert sql(tmp_path, "PRAGMA journal_mode") == [("delete",)]
    await vault.store.replace_grant(a_grant())
    assert "BEGIN IMMEDIATE" in seen
    await vault.store.close()


async def test_a_vault_that_cannot_be_made_durable_is_refused(tmp_path: Path) -> None:
    class Lax(SqliteConnection):
        def execute(self, sql, parameters=()):
            return super().execute(sql.replace("= EXTRA", "= OFF"), parameters)

    with pytest.raises(StoreUnavailable, match="durable"):
        await open_here(tmp_path, connect=Lax)


async def test_a_cancelled_caller_does_not_cancel_a_started_transaction(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()
    faults = Faults()
    vault = await open_here(tmp_path, connect=faults.connect)

    def hold(statement: str) -> None:
        if statement == "COMMIT":
            started.set()
            go_on.wait()

    faults.before = hold
    saving = asyncio.create_task(vault.store.replace_grant(a_grant()))
    await asyncio.to_thread(started.wait)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    go_on.set()
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    for runner in (ThreadRunner, InlineRunner):
        vault = await open_here(tmp_path, runner=runner)
        await vault.store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await vault.store.load_grants()


# --- faults at the seam ---------------------------------------------------------------------

FAULTS = [
    (sqlite3.SQLITE_BUSY, StoreTrouble.UNAVAILABLE),
    (sqlite3.SQLITE_FULL, StoreTrouble.FULL),
    (sqlite3.SQLITE_IOERR_FSYNC, StoreTrouble.UNAVAILABLE),
    (sqlite3.SQLITE_READONLY_ROLLBACK, StoreTrouble.READ_ONLY),
    (sqlite3.SQLITE_CANTOPEN, StoreTrouble.UNAVAILABLE),
]


@pytest.mark.parametrize("at", ["BEGIN IMMEDIATE", "UPDATE", "COMMIT"])
@pytest.mark.parametrize(("code", "trouble"), FAULTS)
async def test_a_failed_write_is_told_as_its_trouble_and_tried_again_later(
    tmp_path: Path, at: str, code: int, trouble: StoreTrouble
) -> None:
    await fill(tmp_path)
    faults = Faults()
    vault = await open_here(tmp_path, connect=faults.connect)
    faults.fail_at(at, error(code))
    newer = replace(a_grant(), revision=1)
    with pytest.raises(StoreUnavailable) as caught:
        await vault.store.save_grant(newer, expected_revision=0)
    assert caught.value.trouble is trouble
    assert caught.value.next_step
    faults.heal()
    assert await vault.store.load_grant("github-mcp") == a_grant()
    assert await vault.store.save_grant(newer, expected_revision=0)
    await vault.store.close()


async def test_after_an_input_output_error_the_file_is_opened_anew(tmp_path: Path) -> None:
    faults = Faults()
    vault = await open_here(tmp_path, connect=faults.connect)
    faults.fail_at("BEGIN", error(sqlite3.SQLITE_IOERR))
    with pytest.raises(StoreUnavailable):
        await vault.store.load_grants()
    faults.heal()
    await vault.store.load_grants()
    assert faults.opened == 2
    await vault.store.close()


async def test_a_process_that_dies_before_its_commit_has_changed_nothing(tmp_path: Path) -> None:
    await fill(tmp_path)
    faults = Faults()
    vault = await open_here(tmp_path, connect=faults.connect, runner=InlineRunner)
    faults.fail_at("COMMIT", Died())
    with pytest.raises(Died):
        await vault.store.replace_grant(a_grant(login_id="login-2"))
    again = await open_here(tmp_path)
    assert await again.store.load_grant("github-mcp") == a_grant()
    await again.store.close()


async def test_a_process_that_dies_after_its_commit_has_changed_everything(tmp_path: Path) -> None:
    await fill(tmp_path)
    faults = Faults()
    vault = await open_here(tmp_path, connect=faults.connect, runner=InlineRunner)
    faults.fail_after("COMMIT", Died())
    with pytest.raises(Died):
        await vault.store.replace_grant(a_grant(login_id="login-2"))
    again = await open_here(tmp_path)
    assert await again.store.load_grant("github-mcp") == a_grant(login_id="login-2")
    assert len(await again.store.load_set_aside("github-mcp")) == 1
    await again.store.close()


async def test_a_full_vault_refuses_the_write_and_keeps_what_it_has(tmp_path: Path) -> None:
    await fill(tmp_path)
    (pages,) = sql(tmp_path, "PRAGMA page_count")[0]
    vault = await open_here(tmp_path, connect=with_pragma(f"PRAGMA max_page_count = {pages}"))

    async def fill_up() -> None:
        for number in range(200):
            await vault.store.replace_grant(a_grant(f"server-{number}"))

    with pytest.raises(StoreUnavailable) as caught:
        await fill_up()
    assert caught.value.trouble is StoreTrouble.FULL
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


# --- read-only ------------------------------------------------------------------------------


async def test_reading_beside_no_daemon_changes_nothing(tmp_path: Path) -> None:
    await fill(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    vault = await open_here(tmp_path, access=Access.READ_ONLY)
    assert list(await vault.store.load_grants()) == [a_grant()]
    with pytest.raises(StoreUnavailable) as caught:
        await vault.store.replace_grant(a_grant("other"))
    assert caught.value.trouble is StoreTrouble.READ_ONLY
    await vault.store.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


async def test_reading_a_vault_before_the_first_login_finds_nothing_and_is_no_trouble(
    tmp_path: Path,
) -> None:
    await (await open_here(tmp_path)).store.close()
    vault = await open_here(tmp_path, access=Access.READ_ONLY)
    assert vault.locked is None
    assert list(await vault.store.load_grants()) == []
    await vault.store.close()


async def test_reading_where_no_vault_was_made_finds_nothing_and_makes_nothing(
    tmp_path: Path,
) -> None:
    vault = await open_here(tmp_path / "none", access=Access.READ_ONLY)
    assert list(await vault.store.load_grants()) == []
    assert not (tmp_path / "none").exists()


async def test_a_read_only_disk_serves_what_lives_and_says_why_it_takes_no_writes(
    tmp_path: Path,
) -> None:
    await fill(tmp_path)

    def read_only_disk(path: Path, access: Access) -> SqliteConnection:
        return SqliteConnection(path, Access.READ_ONLY)

    vault = await open_here(tmp_path, connect=read_only_disk)
    assert list(await vault.store.load_grants()) == [a_grant()]
    with pytest.raises(StoreUnavailable) as caught:
        await vault.store.save_grant(replace(a_grant(), revision=1), expected_revision=0)
    assert caught.value.trouble is StoreTrouble.READ_ONLY
    await vault.store.close()


# --- secrets --------------------------------------------------------------------------------


async def test_no_secret_is_readable_in_any_file_of_the_data_directory(tmp_path: Path) -> None:
    scanned: set[str] = set()

    def scan(_: str = "") -> None:
        for path in tmp_path.rglob("*"):
            scanned.add(path.name)
            content = path.read_bytes()
            for canary in (*CANARIES, "state-1"):
                assert canary.encode() not in content, (canary, path)

    faults = Faults()
    vault = await open_here(tmp_path, connect=faults.connect, runner=InlineRunner)
    faults.before = faults.after = scan
    store = vault.store
    await store.replace_grant(a_grant_in_trouble())
    await store.save_grant(replace(a_grant_in_trouble(), revision=1), expected_revision=0)
    await store.replace_grant(a_grant())
    await store.save_registration(a_registration())
    await store.save_login(a_login())
    await store.take_login("state-1")
    await store.forget_grant("github-mcp")
    await store.close()
    scan()
    assert {"vault.db", "vault.db-journal"} <= scanned


# --- engines --------------------------------------------------------------------------------


async def test_an_unknown_engine_is_refused_by_name(tmp_path: Path) -> None:
    opening = Opening(tmp_path, StaticKey(), HandClock(), database_url="oracle://u:secret@h/d")
    with pytest.raises(ConfigError) as caught:
        await open_vault(opening)
    assert "'oracle'" in caught.value.message
    assert "sqlite" in caught.value.next_step
    assert "secret" not in f"{caught.value.message}{caught.value.next_step}"


async def test_the_embedded_vault_is_the_default(tmp_path: Path) -> None:
    vault = await open_vault(Opening(tmp_path / "data", StaticKey(), HandClock()))
    await vault.store.close()
    assert (tmp_path / "data" / "vault.db").exists()


def test_a_sqlite_that_is_too_old_is_named() -> None:
    with pytest.raises(StoreError, match=r"3\.34\.1 is too old"):
        require_sqlite((3, 34, 1))
