"""The vault's file: damaged rows fail alone, what is not ours is left, old ones are migrated."""

import shutil
from pathlib import Path

import pytest

from mcpproxy.core.errors import (
    SchemaTooNew,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    WrongKey,
)
from mcpproxy.storage import schema
from mcpproxy.storage.connection import Access
from mcpproxy.storage.database import Database
from mcpproxy.storage.engines import Opening, open_sqlite
from mcpproxy.storage.keys import StaticKey
from tests.storage.samples import a_grant, a_grant_in_trouble, a_login
from tests.storage.vaults import fill, open_here, sql
from tests.storage.worlds import HandClock

pytestmark = pytest.mark.anyio

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
