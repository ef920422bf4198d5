"""A vault in a directory, for the tests of what its file goes through."""

import sqlite3
from contextlib import closing
from pathlib import Path

from mcpproxy.core.model import Grant
from mcpproxy.storage.connection import Access, Connect, Row, SqliteConnection
from mcpproxy.storage.engines import Opening, Vault, open_sqlite
from mcpproxy.storage.keys import StaticKey
from mcpproxy.storage.runner import Runner, ThreadRunner
from tests.storage.samples import a_grant
from tests.storage.worlds import HandClock


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


def sql(data_dir: Path, statement: str, *parameters: object) -> list[Row]:
    with closing(sqlite3.connect(data_dir / "vault.db")) as raw, raw:
        return raw.execute(statement, parameters).fetchall()
