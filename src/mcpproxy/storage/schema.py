"""The vault's tables and the steps that lead to them.

Law: forward only, numbered, in one transaction, after a copy was made; a vault written by a newer
program is refused untouched. A step, once released, is never edited.
"""

from pathlib import Path
from typing import Final

from mcpproxy.core.errors import SchemaTooNew, StoreUnavailable
from mcpproxy.storage import files
from mcpproxy.storage.connection import Access, Connection
from mcpproxy.storage.faults import corrupt

APPLICATION_ID: Final = 0x6D637078
"""Says in the file's header whose it is: "mcpx"."""

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE meta (
            name TEXT PRIMARY KEY, value TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE settings (
            name TEXT PRIMARY KEY, value TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE grants (
            server TEXT PRIMARY KEY, login_id TEXT NOT NULL, generation INTEGER NOT NULL,
            revision INTEGER NOT NULL, saved_at TEXT NOT NULL, sealed BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE set_aside (
            number INTEGER PRIMARY KEY AUTOINCREMENT, server TEXT NOT NULL,
            login_id TEXT NOT NULL, generation INTEGER NOT NULL, revision INTEGER NOT NULL,
            saved_at TEXT NOT NULL, set_aside_at TEXT NOT NULL, sealed BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX set_aside_by_server ON set_aside (server, number)",
        """CREATE TABLE registrations (
            identity TEXT PRIMARY KEY, saved_at TEXT NOT NULL, sealed BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE logins (
            number INTEGER PRIMARY KEY AUTOINCREMENT, flow_id TEXT NOT NULL UNIQUE,
            state_digest TEXT NOT NULL UNIQUE, expires_at TEXT NOT NULL, sealed BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE leases (
            name TEXT PRIMARY KEY, boot_id TEXT, pid_space TEXT, pid INTEGER, pid_started TEXT,
            instance TEXT, fence INTEGER NOT NULL, since_us INTEGER NOT NULL,
            until_us INTEGER NOT NULL
        ) STRICT""",
    ),
    (
        """CREATE TABLE ledger (
            number INTEGER PRIMARY KEY AUTOINCREMENT, server TEXT NOT NULL, line BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX ledger_by_server ON ledger (server, number)",
    ),
    (
        """CREATE TABLE approvals (
            server TEXT NOT NULL, tool TEXT NOT NULL, digest TEXT NOT NULL,
            wire_digest TEXT NOT NULL, approved_at TEXT NOT NULL, definition BLOB NOT NULL,
            PRIMARY KEY (server, tool)
        ) STRICT""",
    ),
    (
        "ALTER TABLE approvals ADD COLUMN trust TEXT NOT NULL DEFAULT 'person'",
        "ALTER TABLE approvals ADD COLUMN seen_at TEXT",
    ),
)

CURRENT: Final = len(STEPS)


def check(connection: Connection, path: Path, access: Access) -> int:
    """The schema version of a sound vault of ours; 0: nothing is in it yet. Reads only.

    Raises StoreCorrupt, SchemaTooNew, and StoreUnavailable for an old vault opened READ_ONLY.
    """
    (version,) = connection.execute("PRAGMA user_version")[0]
    (application,) = connection.execute("PRAGMA application_id")[0]
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema")[0]
    if application != APPLICATION_ID and (application or version or tables):
        raise corrupt(path, "it is another program's database")
    if version > CURRENT:
        raise SchemaTooNew(
            f"{path} was written by a newer mcpproxy (schema {version}, this one knows {CURRENT})",
            next_step="update mcpproxy; the vault was left untouched",
        )
    if (complaint := connection.execute("PRAGMA quick_check(1)")[0][0]) != "ok":
        raise corrupt(path, complaint)
    if version < CURRENT and access is Access.READ_ONLY:
        raise StoreUnavailable(
            f"{path} must be brought up to date first (schema {version} to {CURRENT})",
            next_step="run mcpproxy serve once",
        )
    return int(version)


def migrate(connection: Connection, path: Path, steps: tuple[tuple[str, ...], ...] = STEPS) -> None:
    """Go the missing steps, inside the caller's transaction; a vault with content is copied
    first, beside itself, as `vault.db.schema-N`.
    """
    (version,) = connection.execute("PRAGMA user_version")[0]
    if version >= len(steps):
        return
    if version > 0:
        copy = path.with_name(f"{path.name}.schema-{version}")
        copy.unlink(missing_ok=True)
        files.private_file(copy)
        connection.back_up(copy)
        files.sync_directory(path.parent)
    for step in steps[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(steps)}")
