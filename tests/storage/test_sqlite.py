"""The sqlite engine under faults: what is stored stays, what fails says so, rows fail alone."""

import asyncio
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mcpproxy.core.errors import (
    ConfigError,
    SchemaTooNew,
    StoreCorrupt,
    StoreError,
    StoreTrouble,
    StoreUnavailable,
    WrongKey,
)
from mcpproxy.core.model import Grant
from mcpproxy.storage import schema
from mcpproxy.storage.connection import Access, Connect, SqliteConnection, require_sqlite
from mcpproxy.storage.database import Database
from mcpproxy.storage.engines import Opening, Vault, open_sqlite, open_vault
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.runner import InlineRunner, Runner, ThreadRunner
from tests.storage.faulty import Died, Faults, error, with_pragma
from tests.storage.samples import CANARIES, a_grant, a_grant_in_trouble, a_login, a_registration
from tests.storage.worlds import HandClock

pytestmark = pytest.mark.anyio


async def open_here(
    data_dir: Path,
    *,
    connect: Connect = SqliteConnection,
    access: Access = Access.READ_WRITE,
    runner: type[Runner] = ThreadRunner,
) -> Vault:
    return await open_sqlite(
        Opening(data_dir, StaticKey(), HandClock(), access=access, connect=connect, runner=runner)
    )


async def fill(data_dir: Path, *grants: Grant) -> None:
    vault = await open_here(data_dir)
    for grant in grants or (a_grant(),):
        await vault.store.replace_grant(grant)
    await vault.store.close()


def sql(data_dir: Path, statement: str, *parameters: object) -> list[tuple]:
    with closing(sqlite3.connect(data_dir / "vault.db")) as raw, raw:
        return raw.execute(statement, parameters).fetchall()


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


# --- damaged rows ---------------------------------------------------------------------------


async def test_a_flipped_bit_is_refused_for_its_row_alone(tmp_path: Path) -> None:
    await fill(tmp_path, a_grant("a"), a_grant("b"), a_grant("c"))
    (sealed,) = sql(tmp_path, "SELECT sealed FROM grants WHERE server = 'b'")[0]
    flipped = bytearray(sealed)
    flipped[-20] ^= 1
    sql(tmp_path, "UPDATE grants SET sealed = ? WHERE server = 'b'", bytes(flipped))
    vault = await open_here(tmp_path)
    assert [grant.server for grant in await vault.store.load_grants()] == ["a", "c"]
    assert isinstance(vault.store.damaged()["b"], StoreCorrupt)
    with pytest.raises(StoreCorrupt, match="grant b was changed"):
        await vault.store.load_grant("b")
    await vault.store.close()


async def test_swapped_rows_are_refused_both(tmp_path: Path) -> None:
    await fill(tmp_path, a_grant("a"), a_grant("b"), a_grant("c"))
    rows = sql(tmp_path, "SELECT sealed FROM grants WHERE server IN ('a', 'b') ORDER BY server")
    for server, (sealed,) in zip("ba", rows, strict=True):
        sql(tmp_path, "UPDATE grants SET sealed = ? WHERE server = ?", sealed, server)
    vault = await open_here(tmp_path)
    assert [grant.server for grant in await vault.store.load_grants()] == ["c"]
    assert sorted(vault.store.damaged()) == ["a", "b"]
    await vault.store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE grants SET generation = 2",
        "UPDATE grants SET revision = 1",
        "UPDATE grants SET login_id = 'login-2'",
    ],
)
async def test_a_changed_column_in_the_open_is_noticed(tmp_path: Path, change: str) -> None:
    await fill(tmp_path)
    sql(tmp_path, change)
    vault = await open_here(tmp_path)
    with pytest.raises(StoreCorrupt):
        await vault.store.load_grant("github-mcp")
    await vault.store.close()


async def test_a_row_of_another_key_is_refused_alone(tmp_path: Path) -> None:
    await fill(tmp_path / "one", a_grant("a"), a_grant("b"))
    other = await open_sqlite(Opening(tmp_path / "two", StaticKey(b"o" * 32), HandClock()))
    await other.store.replace_grant(a_grant("a"))
    await other.store.close()
    (sealed,) = sql(tmp_path / "two", "SELECT sealed FROM grants")[0]
    sql(tmp_path / "one", "UPDATE grants SET sealed = ? WHERE server = 'a'", sealed)
    vault = await open_here(tmp_path / "one")
    assert vault.locked is None
    assert [grant.server for grant in await vault.store.load_grants()] == ["b"]
    assert isinstance(vault.store.damaged()["a"], WrongKey)
    await vault.store.close()


async def test_a_new_login_over_a_damaged_grant_keeps_the_damaged_one_as_evidence(
    tmp_path: Path,
) -> None:
    await fill(tmp_path)
    sql(tmp_path, "UPDATE grants SET sealed = zeroblob(100)")
    vault = await open_here(tmp_path)
    await vault.store.replace_grant(a_grant(login_id="login-2"))
    assert await vault.store.load_grant("github-mcp") == a_grant(login_id="login-2")
    assert sql(tmp_path, "SELECT login_id, sealed FROM set_aside") == [("login-1", bytes(100))]
    await vault.store.close()


async def test_a_pending_login_that_cannot_be_opened_is_not_used_up(tmp_path: Path) -> None:
    vault = await open_here(tmp_path)
    await vault.store.save_login(a_login())
    (sealed,) = sql(tmp_path, "SELECT sealed FROM logins")[0]
    sql(tmp_path, "UPDATE logins SET sealed = zeroblob(60)")
    with pytest.raises(StoreCorrupt):
        await vault.store.take_login("state-1")
    assert list(await vault.store.load_logins()) == []
    sql(tmp_path, "UPDATE logins SET sealed = ?", sealed)
    assert await vault.store.take_login("state-1") == a_login()
    await vault.store.close()


# --- files that are not a vault of ours -----------------------------------------------------


async def refused(data_dir: Path, kind: type[StoreError]) -> StoreError:
    """Open and be refused, with every byte of the directory as it was."""
    before = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    with pytest.raises(kind) as caught:
        await open_here(data_dir)
    assert {path.name: path.read_bytes() for path in data_dir.iterdir()} == before
    assert caught.value.next_step
    return caught.value


async def test_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    await fill(tmp_path)
    sql(tmp_path, "PRAGMA user_version = 99")
    refusal = await refused(tmp_path, SchemaTooNew)
    assert "schema 99" in refusal.message
    assert "update mcpproxy" in refusal.next_step


@pytest.mark.parametrize(
    "content", [b"not a database", b"SQLite format 3\0" + b"\xff" * 2000, b"\0" * 4096]
)
async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vault.db").write_bytes(content)
    refusal = await refused(tmp_path, StoreCorrupt)
    assert "left exactly as it is" in refusal.next_step


async def test_a_damaged_database_is_left_as_it_is(tmp_path: Path) -> None:
    await fill(tmp_path, *(a_grant_in_trouble(f"server-{number}") for number in range(40)))
    path = tmp_path / "vault.db"
    content = bytearray(path.read_bytes())
    for at in range(4096, len(content), 4096):
        content[at : at + 64] = b"\xa5" * 64
    path.write_bytes(content)
    await refused(tmp_path, StoreCorrupt)


async def test_a_truncated_database_is_left_as_it_is(tmp_path: Path) -> None:
    await fill(tmp_path, *(a_grant_in_trouble(f"server-{number}") for number in range(40)))
    path = tmp_path / "vault.db"
    path.write_bytes(path.read_bytes()[:-6000])
    await refused(tmp_path, StoreCorrupt)


async def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    sql(tmp_path, "CREATE TABLE cookies (name)")
    refusal = await refused(tmp_path, StoreCorrupt)
    assert "another program" in refusal.message


async def test_a_vault_that_was_taken_away_is_not_written_to(tmp_path: Path) -> None:
    vault = await open_here(tmp_path)
    await vault.store.replace_grant(a_grant())
    (tmp_path / "vault.db").rename(tmp_path / "taken")
    with pytest.raises(StoreUnavailable, match="is gone"):
        await vault.store.replace_grant(a_grant("other"))
    (tmp_path / "taken").rename(tmp_path / "vault.db")
    assert len(await vault.store.load_grants()) == 1
    await vault.store.close()


async def test_a_backup_put_in_place_while_running_is_what_counts(tmp_path: Path) -> None:
    await fill(tmp_path)
    shutil.copy(tmp_path / "vault.db", tmp_path / "backup")
    vault = await open_here(tmp_path)
    await vault.store.replace_grant(a_grant("other"))
    (tmp_path / "backup").replace(tmp_path / "vault.db")
    assert [grant.server for grant in await vault.store.load_grants()] == ["github-mcp"]
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


# --- migrations -----------------------------------------------------------------------------


def migrated(path: Path, steps: tuple[tuple[str, ...], ...]) -> None:
    database = Database(path)
    database.open()
    database.write(lambda db: schema.migrate(db, path, steps))
    database.close()


async def test_a_migration_copies_the_vault_first(tmp_path: Path) -> None:
    await fill(tmp_path)
    path = tmp_path / "vault.db"
    migrated(path, (*schema.STEPS, ("CREATE TABLE later (a TEXT) STRICT",)))
    assert sql(tmp_path, "SELECT count(*) FROM later") == [(0,)]
    copy = tmp_path / f"vault.db.schema-{schema.CURRENT}"
    assert copy.stat().st_mode & 0o777 == 0o600
    path.unlink()
    copy.rename(path)
    vault = await open_here(tmp_path)
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


async def test_a_migration_that_fails_leaves_the_vault_as_it_was(tmp_path: Path) -> None:
    await fill(tmp_path)
    steps = (*schema.STEPS, ("CREATE TABLE later (a TEXT) STRICT", "NONSENSE"))
    with pytest.raises(StoreUnavailable):
        migrated(tmp_path / "vault.db", steps)
    vault = await open_here(tmp_path)
    assert await vault.store.load_grant("github-mcp") == a_grant()
    await vault.store.close()


async def test_an_old_vault_is_not_migrated_by_a_reader(tmp_path: Path) -> None:
    await fill(tmp_path)
    sql(tmp_path, "PRAGMA user_version = 0")
    with pytest.raises(StoreUnavailable) as caught:
        await open_here(tmp_path, access=Access.READ_ONLY)
    assert "serve" in caught.value.next_step


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
