"""The ledger's table: lines are noted inside the transaction of what they tell of.

Law: in the open, as there is no secret in a line; bounded for each server, the oldest go first.
"""

from collections.abc import Sequence

from mcpproxy.core.errors import StoreCorrupt
from mcpproxy.core.ledger import MAX_LEDGER, LedgerLine
from mcpproxy.storage import codec
from mcpproxy.storage.connection import Connection, Row


def note(db: Connection, line: LedgerLine) -> None:
    """Add a line, inside the caller's transaction."""
    db.execute("INSERT INTO ledger (server, line) VALUES (?, ?)", (line.server, codec.encode(line)))
    db.execute(
        "DELETE FROM ledger WHERE server = ? AND number NOT IN (SELECT number FROM ledger "
        "WHERE server = ? ORDER BY number DESC LIMIT ?)",
        (line.server, line.server, MAX_LEDGER),
    )


def last_lines(db: Connection, server: str, limit: int) -> list[Row]:
    """The rows of the last lines, newest first."""
    query = "SELECT line FROM ledger WHERE server = ? ORDER BY number DESC LIMIT ?"
    return db.execute(query, (server, max(0, limit)))


def read(rows: Sequence[Row]) -> list[LedgerLine]:
    """Rows, newest first, as lines, oldest first. One that cannot be read is left out: it is a
    record of the past, and nothing depends on it.
    """
    lines: list[LedgerLine] = []
    for row in reversed(rows):
        try:
            lines.append(codec.decode_line(row[0]))
        except StoreCorrupt:
            continue
    return lines
