"""One vault file: opened, checked, migrated, and then read and written in whole transactions.

Law: a transaction is all or nothing, and its errors are ours. Synchronous: a runner calls it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mcpproxy.core.errors import NotPermitted, StoreUnavailable
from mcpproxy.storage import files, schema
from mcpproxy.storage.connection import (
    Access,
    Connect,
    Connection,
    SqliteConnection,
    harden,
    require_sqlite,
)
from mcpproxy.storage.faults import REOPEN, primary_code, store_error

_T = TypeVar("_T")
Transaction = Callable[[Connection], _T]


class Database:
    """The vault at `path`. Not safe for two threads at once: its runner sees to that."""

    def __init__(
        self,
        path: Path,
        *,
        access: Access = Access.READ_WRITE,
        connect: Connect = SqliteConnection,
    ) -> None:
        self.path = path
        self.access = access
        self._connect = connect
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._closed = False

    def open(self) -> None:
        """Make or check the file. Raises StoreCorrupt, SchemaTooNew, StoreUnavailable,
        NotPermitted; in each case what is there stays as it is.
        """
        require_sqlite()
        if self.access is Access.READ_WRITE:
            files.private_directory(self.path.parent)
            files.private_file(self.path)
        self._opened()

    def read(self, work: Transaction[_T]) -> _T:
        """`work` on one consistent state."""
        return self._transact("BEGIN", work)

    def write(self, work: Transaction[_T]) -> _T:
        """`work` with nobody else writing, durable when this returns."""
        return self._transact("BEGIN IMMEDIATE", work)

    def close(self) -> None:
        self._closed = True
        self._drop()

    def _transact(self, begin: str, work: Transaction[_T]) -> _T:
        try:
            connection = self._opened()
        except NotPermitted as error:
            # It was ours when it was opened: an expired ticket or a switched guard, not a verdict.
            raise StoreUnavailable(error.message, next_step=error.next_step) from error
        try:
            connection.execute(begin)
            result = work(connection)
            connection.execute("COMMIT")
            return result
        except sqlite3.Error as error:
            self._abandon(connection)
            if primary_code(error) in REOPEN:
                self._drop()
            raise store_error(error, self.path) from error
        except BaseException:
            self._abandon(connection)
            raise

    def _opened(self) -> Connection:
        """The connection to the file that has this name now: a vault that was put back from a
        backup is seen, and one that was taken away is not written to where nobody finds it.
        """
        if self._closed:
            raise StoreUnavailable(f"{self.path} is closed")
        try:
            status = os.stat(self.path)
        except OSError as error:
            self._drop()
            raise files.os_trouble(error, self.path) from error
        if self._connection is not None and self._file == (status.st_dev, status.st_ino):
            return self._connection
        self._drop()
        connection = None
        try:
            connection = self._connect(self.path, self.access)
            self._prepare(connection)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise store_error(error, self.path) from error
        except BaseException:
            if connection is not None:
                self._abandon(connection)
                connection.close()
            raise
        self._connection, self._file = connection, (status.st_dev, status.st_ino)
        return connection

    def _prepare(self, connection: Connection) -> None:
        if schema.check(connection, self.path, self.access) < schema.CURRENT:
            harden(connection, self.access)
            connection.execute("BEGIN IMMEDIATE")
            schema.migrate(connection, self.path)
            connection.execute("COMMIT")
        else:
            harden(connection, self.access)

    def _abandon(self, connection: Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction():
                connection.execute("ROLLBACK")

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = self._file = None
