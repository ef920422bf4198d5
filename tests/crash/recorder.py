"""Every write, sync, truncation and removal of a database's files, as SQLite asks for them.

Law: the order is SQLite's own, at the last layer before the operating system (a VFS of apsw's),
through the seam at which the product opens its connections.
"""

import itertools
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from mcpproxy.storage.connection import Access, Row, Value

_NUMBERS: Final = itertools.count(1)


class Kind(Enum):
    """What happened to a file. SYNC makes all before it durable; its name in the directory too."""

    CREATE = auto()
    WRITE = auto()
    TRUNCATE = auto()
    DELETE = auto()
    SYNC = auto()


class Operation(NamedTuple):
    """One of them. `offset` is also the size that a TRUNCATE leaves; `durable` says of a DELETE
    that the directory was synced with it.
    """

    kind: Kind
    name: str
    offset: int = 0
    content: bytes = b""
    durable: bool = False


class _File(apsw.VFSFile):
    def __init__(self, log: list[Operation], path: str, filename: object, flags: list[int]) -> None:
        self._log = log
        self._name = Path(path).name
        is_new = not Path(path).exists()
        super().__init__("", filename, flags)  # type: ignore[arg-type]
        if is_new:
            log.append(Operation(Kind.CREATE, self._name))

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._log.append(Operation(Kind.WRITE, self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._log.append(Operation(Kind.TRUNCATE, self._name, newsize))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._log.append(Operation(Kind.SYNC, self._name))


class _Recording(apsw.VFS):
    def __init__(self, log: list[Operation]) -> None:
        self.name = f"recording-{next(_NUMBERS)}"
        self._log = log
        super().__init__(self.name, "")

    def xOpen(self, name: object, flags: list[int]) -> _File:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        return _File(self._log, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._log.append(Operation(Kind.DELETE, Path(filename).name, durable=syncdir))


class Recorder:
    """`connect` is for Opening.connect; `committed` is called after every COMMIT."""

    def __init__(self, committed: Callable[["RecordedConnection"], None]) -> None:
        self.log: list[Operation] = []
        self._vfs = _Recording(self.log)
        self._committed = committed

    def connect(self, path: Path, access: Access) -> "RecordedConnection":
        assert access is Access.READ_WRITE
        raw = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs.name)
        return RecordedConnection(raw, self._committed)


class RecordedConnection:
    """The engine's port Connection over apsw."""

    def __init__(
        self, raw: apsw.Connection, committed: Callable[["RecordedConnection"], None]
    ) -> None:
        self._raw = raw
        self._committed = committed

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        rows = list(self._raw.execute(sql, tuple(parameters)))
        if sql == "COMMIT":
            self._committed(self)
        return rows

    def in_transaction(self) -> bool:
        return self._raw.in_transaction

    def back_up(self, target: Path) -> None:
        raise AssertionError("no vault is brought up to date here")

    def close(self) -> None:
        self._raw.close()
