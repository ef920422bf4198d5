"""SQLite's errors as ours: which trouble it is, decided here and nowhere else.

Law: by result code, never by text (https://sqlite.org/rescode.html).
"""

import sqlite3
from pathlib import Path
from typing import Final

from mcpproxy.core.errors import StoreCorrupt, StoreError, StoreTrouble, StoreUnavailable

PRIMARY: Final = 0xFF
"""The low byte of an extended result code is its primary code."""

REOPEN: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }
)
"""After these the connection may hold on to what is no longer so; the next use opens anew.

SQLite opens a file that it may not write to for reading, and that is for the connection's life.
"""


def primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & PRIMARY


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """The error of ours that stands for this one."""
    if isinstance(error, sqlite3.ProgrammingError) and not hasattr(error, "sqlite_errorcode"):
        return StoreUnavailable(f"{path} is closed")
    match primary_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(
                f"{path} is kept busy by another process",
                next_step="see which process has it open; it is tried again",
            )
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable(
                f"{path}: the disk is full",
                next_step="free some space; it is tried again",
                trouble=StoreTrouble.FULL,
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return StoreUnavailable(
                f"{path} cannot be written to",
                next_step="make the disk and the file writable for this user; it is tried again",
                trouble=StoreTrouble.READ_ONLY,
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return corrupt(path, str(error))
        case _:
            return StoreUnavailable(
                f"{path}: {error}", next_step="look after the disk; it is tried again"
            )


def corrupt(path: Path, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged: {what}",
        next_step=f"it was left exactly as it is: put a backup in its place, or move {path.name} "
        "away to start with an empty vault and log in again",
    )
