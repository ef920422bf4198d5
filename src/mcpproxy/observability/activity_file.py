"""The log of activity in a SQLite file of its own, beside the vault and never in its way.

Law: it may be lost, so it is written without waiting for the disk; it is bounded by age, count and
size; what is damaged is set aside and begun anew. Synchronous: one thread uses it.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.request import pathname2url

from mcpproxy.core.activity import TOOLS_CALL, CallFilter, CallRecord
from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.observability.files import make_private_directory

FILE: Final = "activity.db"
VERSION: Final = 2
_BUSY_S: Final = 2.0
_SCHEMA: Final = """
CREATE TABLE calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, server TEXT NOT NULL,
    tool TEXT NOT NULL, outcome TEXT NOT NULL, duration_us INTEGER NOT NULL, caller TEXT NOT NULL,
    client TEXT NOT NULL, request_id TEXT NOT NULL, bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL, arguments TEXT
) STRICT;
"""
# Of a call that was written before there was anything else: it was a tool's.
_METHOD: Final = f"ALTER TABLE calls ADD COLUMN method TEXT NOT NULL DEFAULT '{TOOLS_CALL}';"
_STEPS: Final = (_SCHEMA, _METHOD)
"""By the version that they lead on from."""

_FIRST_COLUMNS: Final = (
    "at_us, server, tool, outcome, duration_us, caller, client, request_id, bytes_in, bytes_out, "
    "arguments"
)
_COLUMNS: Final = f"{_FIRST_COLUMNS}, method"
_PLACES: Final = ", ".join("?" * len(_COLUMNS.split()))
Row = tuple[str | int | None, ...]
"""A call in the order of its columns."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class ActivityFile:
    """Opened when it is first used. Every method raises StoreUnavailable, never SQLite's own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def add(self, rows: Sequence[Row]) -> None:
        """Append calls; their numbers are given here."""
        insert = f"INSERT INTO calls ({_COLUMNS}) VALUES ({_PLACES})"  # noqa: S608
        with self._used() as db, db:
            db.executemany(insert, rows)

    def prune(self, *, before: datetime, records: int, size: int) -> None:
        """Drop what is older, and the oldest over so many records or bytes."""
        with self._used() as db, db:
            # In the order of their numbers: it ends at the first that is young enough.
            young = "SELECT number FROM calls WHERE at_us >= ? ORDER BY number LIMIT 1"
            first = db.execute(young, (microseconds(before),)).fetchone()
            if first is None:
                db.execute("DELETE FROM calls")
            else:
                db.execute("DELETE FROM calls WHERE number < ?", first)
            newest = _number(db, "SELECT max(number) FROM calls")
            db.execute("DELETE FROM calls WHERE number <= ?", (newest - records,))
            pages = _number(db, "PRAGMA page_count") - _number(db, "PRAGMA freelist_count")
            if pages * _number(db, "PRAGMA page_size") > size:
                oldest = _number(db, "SELECT min(number) FROM calls")
                db.execute(
                    "DELETE FROM calls WHERE number < ?",
                    (oldest + max(1, (newest - oldest) // 10),),
                )

    def newest(self, wanted: CallFilter, limit: int) -> list[CallRecord]:
        """The last ones that match, newest first."""
        return self._select(wanted, "ORDER BY number DESC", limit)

    def following(self, wanted: CallFilter, after: int, limit: int) -> list[CallRecord]:
        """Those with higher numbers that match, oldest first."""
        return self._select(wanted, "ORDER BY number", limit, after)

    def look(self, wanted: CallFilter, limit: int) -> list[CallRecord]:
        """As `newest`, without changing a byte: for when no daemon has the file open. What a crash
        left in the write-ahead log is not seen.
        """
        if not self._path.exists():
            return []
        name = f"file:{pathname2url(str(self._path.absolute()))}?mode=ro&immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(name, uri=True)) as db:
                return _selected(db, wanted, "ORDER BY number DESC", limit)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path} cannot be used: {error}") from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _select(
        self, wanted: CallFilter, order: str, limit: int, after: int = 0
    ) -> list[CallRecord]:
        if self._connection is None and not self._path.exists():
            return []
        with self._used() as db:
            return _selected(db, wanted, order, limit, after)

    @contextlib.contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self._connection = self._opened()
            yield self._connection
        except (sqlite3.Error, OSError) as error:
            self.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
                self._set_aside()
            raise StoreUnavailable(f"{self._path} cannot be used: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        make_private_directory(self._path.parent)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            f"file:{pathname2url(str(self._path.absolute()))}?mode=rw",
            uri=True,
            timeout=_BUSY_S,
            check_same_thread=False,
        )
        try:
            if _number(connection, "PRAGMA user_version") > VERSION:
                raise sqlite3.OperationalError("it was written by a newer mcpproxy")
            # A crash of the machine may take the last second; one of the program takes nothing
            # that was written.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _bring_up_to_date(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> None:
        """One damaged file is kept for whoever wants to look; the next use begins anew."""
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.replace(f"{self._path}.damaged")


def _bring_up_to_date(db: sqlite3.Connection) -> None:
    """Somebody else may do the same: who is second finds nothing to do."""
    if _number(db, "PRAGMA user_version") == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    with db:
        version = _number(db, "PRAGMA user_version")
        for step in _STEPS[version:]:
            db.execute(step)
        db.execute(f"PRAGMA user_version = {max(version, VERSION)}")


def _selected(
    db: sqlite3.Connection, wanted: CallFilter, order: str, limit: int, after: int = 0
) -> list[CallRecord]:
    terms, values = _terms(wanted)
    source = "calls"
    if _number(db, "PRAGMA user_version") < VERSION:  # it is only looked at
        source = f"(SELECT *, '{TOOLS_CALL}' AS method FROM calls)"  # noqa: S608
    query = f"SELECT number, {_COLUMNS} FROM {source} WHERE number > ?{terms} {order} LIMIT ?"  # noqa: S608
    return [_record(row) for row in db.execute(query, (after, *values, limit))]


def _terms(wanted: CallFilter) -> tuple[str, list[str | int]]:
    terms: list[str] = []
    values: list[str | int] = []
    for column in ("server", "tool", "outcome", "caller", "request_id", "method"):
        value = getattr(wanted, column)
        if value is not None:
            terms.append(f" AND {column} = ?")
            values.append(value)
    if wanted.client is not None:
        # "claude" finds "claude 1.2".
        terms.append(" AND (client = ? OR substr(client, 1, ?) = ?)")
        values += [wanted.client, len(wanted.client) + 1, f"{wanted.client} "]
    for moment, term in ((wanted.since, " AND at_us >= ?"), (wanted.until, " AND at_us < ?")):
        if moment is not None:
            terms.append(term)
            values.append(microseconds(moment))
    if wanted.before is not None:
        terms.append(" AND number < ?")
        values.append(wanted.before)
    return "".join(terms), values


def _record(row: tuple[Any, ...]) -> CallRecord:
    number, at_us, server, tool, outcome, duration_us, *rest = row
    at, duration = _EPOCH + at_us * _MICROSECOND, duration_us * _MICROSECOND
    return CallRecord(number, at, server, tool, outcome, duration, *rest)


def microseconds(at: datetime) -> int:
    """Since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def _number(db: sqlite3.Connection, query: str) -> int:
    (value,) = db.execute(query).fetchone()
    return value or 0
