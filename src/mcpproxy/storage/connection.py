"""The one seam to SQLite: every statement, BEGIN and COMMIT of the vault goes through `execute`.

Law: durable before it returns: a rollback journal and synchronous=EXTRA, verified after they are
set. The simulator puts its own Connection here to be busy, full, failing or dead at any step.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.request import pathname2url

from mcpproxy.core.errors import StoreError, StoreUnavailable

BUSY_TIMEOUT_S: Final = 10.0
"""A transaction takes milliseconds; whoever keeps the vault this long is stuck."""

SYNCHRONOUS_EXTRA: Final = 3

MINIMUM_SQLITE: Final = (3, 37, 0)
"""STRICT tables came with 3.37 (2021), RETURNING with 3.35."""

Value = str | int | bytes | None
Row = tuple[Any, ...]


class Access(Enum):
    """READ_ONLY serves commands beside a daemon that is not there; it never changes a byte."""

    READ_WRITE = auto()
    READ_ONLY = auto()


class Connection(Protocol):
    """What the engine needs of a database connection. Errors are sqlite3's own."""

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """One statement, all its rows."""
        ...

    def in_transaction(self) -> bool: ...

    def back_up(self, target: Path) -> None:
        """A consistent copy, also from inside a transaction that has changed nothing."""
        ...

    def close(self) -> None: ...


Connect = Callable[[Path, Access], Connection]


class SqliteConnection:
    """The real thing."""

    def __init__(self, path: Path, access: Access) -> None:
        self._path = path
        self._raw = _connect(path, access)

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return self._raw.execute(sql, parameters).fetchall()

    def in_transaction(self) -> bool:
        return self._raw.in_transaction

    def back_up(self, target: Path) -> None:
        # By a reader of its own: SQLite copies from no connection that is about to write.
        with (
            closing(_connect(self._path, Access.READ_ONLY)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)

    def close(self) -> None:
        self._raw.close()


def _connect(path: Path, access: Access) -> sqlite3.Connection:
    mode = "ro" if access is Access.READ_ONLY else "rw"
    return sqlite3.connect(
        f"file:{pathname2url(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def harden(connection: Connection, access: Access) -> None:
    """Set what durability and safety need, and look whether it took."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if access is Access.READ_ONLY:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA synchronous = EXTRA")
    (mode,) = connection.execute("PRAGMA journal_mode = DELETE")[0]
    (synchronous,) = connection.execute("PRAGMA synchronous")[0]
    if mode != "delete" or synchronous != SYNCHRONOUS_EXTRA:
        raise StoreUnavailable(
            f"the vault cannot be made durable: journal_mode={mode}, synchronous={synchronous}",
            next_step="stop whatever else has the vault open",
        )


def require_sqlite(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> None:
    if version < MINIMUM_SQLITE:
        found, wanted = (".".join(map(str, v)) for v in (version, MINIMUM_SQLITE))
        raise StoreError(
            f"SQLite {found} is too old: the vault needs {wanted} or newer",
            next_step="use a Python that is built with a newer SQLite",
        )
