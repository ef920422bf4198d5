"""Search over all tools: SQLite FTS5 in a private in-memory database.

Law: derived data. It is rebuilt from the catalog, lazily, for the servers that changed.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from mcpproxy.gateway.catalog import Entry
from mcpproxy.gateway.wire import jsonrpc

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W_]+")
# A longer query is not a query any more.
_MAX_WORDS: Final = 32
# Columns: id is not searched; a word in a tool's name says most about it.
_WEIGHTS: Final = "0.0, 8.0, 3.0, 2.0, 1.0"

_SCHEMA: Final = """
CREATE VIRTUAL TABLE tools USING fts5(
    id UNINDEXED, name, server, description, parameters, tokenize = 'porter unicode61'
)
"""
_SEARCH: Final = f"""
SELECT id, -bm25(tools, {_WEIGHTS}) AS score FROM tools
WHERE tools MATCH ? ORDER BY score DESC, id LIMIT ?
"""  # noqa: S608 - the weights are literals above


def words(text: str) -> list[str]:
    """The words of a name or sentence: camelCase and snake_case come apart."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text))]


class ToolIndex:
    """Finds tools by what they are about."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(_SCHEMA)
        self._indexed: dict[str, tuple[Entry, ...]] = {}

    def replace(self, server: str, entries: tuple[Entry, ...]) -> None:
        """Index what a server offers now, unless that is indexed already."""
        before = self._indexed.get(server, ())
        if entries == before:
            return
        with self._database:
            self._database.executemany(
                "DELETE FROM tools WHERE id = ?", [(entry.id,) for entry in before]
            )
            self._database.executemany(
                "INSERT INTO tools VALUES (?, ?, ?, ?, ?)", [_row(entry) for entry in entries]
            )
        self._indexed[server] = entries

    def search(self, query: str, limit: int) -> Sequence[tuple[str, float]]:
        """Ids (`server:tool`) with their scores, best first: all words, else any of them."""
        wanted = list(dict.fromkeys(words(query)))[:_MAX_WORDS]
        if not wanted or limit < 1:
            return []
        quoted = [f'"{word}"' for word in wanted]
        found = self._run(" AND ".join(quoted), limit)
        if len(found) < limit and len(wanted) > 1:
            known = {tool for tool, _ in found}
            wider = self._run(" OR ".join(quoted), limit + len(known))
            found += [pair for pair in wider if pair[0] not in known]
        return found[:limit]

    def close(self) -> None:
        self._database.close()

    def _run(self, match: str, limit: int) -> list[tuple[str, float]]:
        rows: Iterable[tuple[str, float]] = self._database.execute(_SEARCH, (match, limit))
        return [(tool, round(score, 3)) for tool, score in rows]


def _row(entry: Entry) -> tuple[str, str, str, str, str]:
    return (
        entry.id,
        " ".join(words(entry.tool.name)),
        " ".join(words(entry.server)),
        " ".join(words(entry.tool.description)),
        " ".join(words(" ".join(_parameters(entry)))),
    )


def _parameters(entry: Entry) -> list[str]:
    schema = jsonrpc.members(jsonrpc.members(entry.tool.definition).get("inputSchema"))
    raw = schema.get("properties")
    return list(jsonrpc.members(raw)) if raw and bytes(raw)[:1] == b"{" else []
