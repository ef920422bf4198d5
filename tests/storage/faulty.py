"""A connection that fails where a test says so: the engine's seam, put to use."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from mcpproxy.storage.connection import Access, Connect, Connection, Row, SqliteConnection, Value


class Died(BaseException):
    """The process ends here."""


def error(code: int) -> sqlite3.OperationalError:
    """The error as SQLite raises it with this result code."""
    made = sqlite3.OperationalError(f"injected {code}")
    made.sqlite_errorcode = code
    return made


class Faults:
    """`before` and `after` see each statement and may raise."""

    def __init__(self) -> None:
        self.before: Callable[[str], None] = lambda sql: None
        self.after: Callable[[str], None] = lambda sql: None
        self.opened = 0

    def fail_at(self, start: str, fault: BaseException) -> None:
        """Raise `fault` before every statement that begins like this."""
        self.before = self._raiser(start, fault)

    def fail_after(self, start: str, fault: BaseException) -> None:
        self.after = self._raiser(start, fault)

    def heal(self) -> None:
        self.before = self.after = lambda sql: None

    def connect(self, path: Path, access: Access) -> Connection:
        self.opened += 1
        return _FaultyConnection(SqliteConnection(path, access), self)

    @staticmethod
    def _raiser(start: str, fault: BaseException) -> Callable[[str], None]:
        def check(sql: str) -> None:
            if sql.startswith(start):
                raise fault

        return check


class _FaultyConnection:
    def __init__(self, real: Connection, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        self._faults.before(sql)
        rows = self._real.execute(sql, parameters)
        self._faults.after(sql)
        return rows

    def in_transaction(self) -> bool:
        return self._real.in_transaction()

    def back_up(self, target: Path) -> None:
        self._real.back_up(target)

    def close(self) -> None:
        self._real.close()


def with_pragma(pragma: str) -> Connect:
    """Real connections that start with one more pragma."""

    def connect(path: Path, access: Access) -> Connection:
        connection = SqliteConnection(path, access)
        connection.execute(pragma)
        return connection

    return connect
