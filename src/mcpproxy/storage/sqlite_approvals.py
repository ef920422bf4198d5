"""The approvals' table of the sqlite engine.

Law: in the open, as a tool's definition is no secret; every method is one transaction; bounded for
each server, where what is known stays and new names find no room; of long texts the oldest go.
"""

import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mcpproxy.core.approvals import Approval, Trust
from mcpproxy.storage.bounds import MAX_APPROVALS, MAX_APPROVED_BYTES
from mcpproxy.storage.connection import Connection, Row
from mcpproxy.storage.database import Database
from mcpproxy.storage.runner import Runner

_COLUMNS: Final = "server, tool, digest, wire_digest, approved_at, definition, trust, seen_at"
_INSERT: Final = f"INSERT OR REPLACE INTO approvals ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_LONGEST: Final = 1024 * 1024


class SqliteApprovals:
    """The ApprovalStore port over a Database."""

    def __init__(self, database: Database, runner: Runner) -> None:
        self._database = database
        self._runner = runner

    async def load_approvals(self) -> Sequence[Approval]:
        def work(db: Connection) -> list[Row]:
            return db.execute(f"SELECT {_COLUMNS} FROM approvals ORDER BY server, tool")  # noqa: S608

        rows = await self._runner.run(lambda: self._database.read(work))
        return [made for row in rows if (made := _approval(row)) is not None]

    async def save_approvals(self, approvals: Sequence[Approval]) -> None:
        def work(db: Connection) -> None:
            known = {server: _tools(db, server) for server in {each.server for each in approvals}}
            for each in approvals:
                of_server = known[each.server]
                if each.tool not in of_server and len(of_server) >= MAX_APPROVALS:
                    continue
                of_server.add(each.tool)
                db.execute(
                    _INSERT,
                    (
                        each.server,
                        each.tool,
                        each.digest,
                        each.wire_digest,
                        each.approved_at.isoformat(),
                        zlib.compress(each.definition),
                        each.trust.value,
                        None if each.seen_at is None else each.seen_at.isoformat(),
                    ),
                )
            for server in known:
                _bound(db, server)

        await self._runner.run(lambda: self._database.write(work))

    async def note_seen(self, server: str, tools: Sequence[str], at: datetime) -> None:
        def work(db: Connection) -> None:
            for tool in tools:
                db.execute(
                    "UPDATE approvals SET seen_at = ? WHERE server = ? AND tool = ?",
                    (at.isoformat(), server, tool),
                )

        await self._runner.run(lambda: self._database.write(work))

    async def forget_approvals(self, server: str, tools: Sequence[str]) -> None:
        def work(db: Connection) -> None:
            for tool in tools:
                db.execute("DELETE FROM approvals WHERE server = ? AND tool = ?", (server, tool))

        await self._runner.run(lambda: self._database.write(work))


def _tools(db: Connection, server: str) -> set[str]:
    return {row[0] for row in db.execute("SELECT tool FROM approvals WHERE server = ?", (server,))}


def _bound(db: Connection, server: str) -> None:
    db.execute(
        "UPDATE approvals SET definition = x'' WHERE server = ? AND tool IN (SELECT tool FROM "
        "(SELECT tool, sum(length(definition)) OVER (ORDER BY approved_at DESC, tool) AS total "
        "FROM approvals WHERE server = ?) WHERE total > ?)",
        (server, server, MAX_APPROVED_BYTES),
    )


def _approval(row: Row) -> Approval | None:
    """None for a row that somebody spoiled: its tool was then never approved."""
    server, tool, digest, wire_digest, approved_at, packed, trusted, seen = row
    try:
        at, trust = datetime.fromisoformat(approved_at), Trust(trusted)
        seen_at = None if seen is None else datetime.fromisoformat(seen)
    except ValueError:
        return None
    return Approval(server, tool, digest, wire_digest, _unpacked(packed), at, trust, seen_at)


def _unpacked(packed: bytes) -> bytes:
    """Empty when it cannot be read: only what changed can then not be shown."""
    try:
        return zlib.decompressobj().decompress(packed, _LONGEST)
    except zlib.error:
        return b""
