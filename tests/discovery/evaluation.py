"""The evaluation set, and its figures: recall@1, recall@5, MRR and tokens.

Law: a query counts as answered at the first place where any of its right tools stands.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcpproxy.gateway.catalog import Catalog
from mcpproxy.gateway.modes.builtin import DEFINITION_OF
from mcpproxy.gateway.modes.compact import compact, tokens
from mcpproxy.gateway.modes.finder import described
from mcpproxy.gateway.search.index import ToolIndex
from mcpproxy.gateway.tools import Tool, read_tool
from mcpproxy.gateway.wire import jsonrpc

HERE: Final = Path(__file__).parent
TUNED: Final = "tuned"
HELD_OUT: Final = "held out"
PLACES: Final = 10


@dataclass(frozen=True, slots=True)
class Query:
    """A question with the tools that answer it, as `server:tool`."""

    text: str
    expected: frozenset[str]

    @property
    def half(self) -> str:
        """By its own digest: nobody chose which half it is in."""
        return HELD_OUT if hashlib.sha256(self.text.encode()).digest()[0] % 2 else TUNED


@dataclass(frozen=True, slots=True)
class Server:
    """A real server's tools, and where they come from."""

    name: str
    source: str
    licence: str
    tools: tuple[Tool, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Over `count` queries. `missed` are those without a right tool among the first five."""

    count: int
    recall_at_1: float
    recall_at_5: float
    mrr: float
    missed: tuple[str, ...]


def load_queries() -> tuple[Query, ...]:
    return tuple(Query(each["query"], frozenset(each["expected"])) for each in _read("queries"))


def load_servers() -> tuple[Server, ...]:
    return tuple(
        Server(
            each["name"],
            f"{each['registry']} {each['package']} {each['version']}",
            each["licence"],
            tuple(as_tool(tool) for tool in each["tools"]),
        )
        for each in _read("tools")
    )


def as_tool(definition: object) -> Tool:
    tool = read_tool(jsonrpc.raw(definition))
    assert isinstance(tool, Tool), tool
    return tool


def _read(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return found


def put(catalog: Catalog, index: ToolIndex, server: str, tools: Iterable[Tool]) -> None:
    catalog.replace(server, tuple(tools))
    index.replace(server, catalog.of(server))


def indexed(servers: Iterable[Server]) -> tuple[Catalog, ToolIndex]:
    catalog, index = Catalog(), ToolIndex()
    for server in servers:
        put(catalog, index, server.name, server.tools)
    index.settle_now()
    return catalog, index


def measure(index: ToolIndex, queries: Sequence[Query]) -> Score:
    places = [_place(index, query) for query in queries]
    count = len(queries)
    return Score(
        count,
        sum(place == 1 for place in places) / count,
        sum(0 < place <= 5 for place in places) / count,
        sum(1 / place for place in places if place) / count,
        tuple(
            query.text for query, place in zip(queries, places, strict=True) if not 0 < place <= 5
        ),
    )


def _place(index: ToolIndex, query: Query) -> int:
    """Where the first right tool stands, from 1; 0 when it is not among the first ten."""
    found = index.search(query.text, PLACES)
    places = (at for at, (entry, _) in enumerate(found, 1) if entry.id in query.expected)
    return next(places, 0)


def token_figures(catalog: Catalog, index: ToolIndex, queries: Sequence[Query]) -> dict[str, int]:
    """Estimated as characters / 4: what a client's model reads in either mode."""
    answers: list[int] = []
    definitions: list[int] = []
    for query in queries:
        found = [entry for entry, _ in index.search(query.text, PLACES)]
        shown = jsonrpc.encode({"tools": [compact(entry) for entry in found]})
        answers.append(tokens(len(shown)))
        definitions += [tokens(len(described(entry))) for entry in found[:1]]
    return {
        "all tools": tokens(sum(len(entry.definition) for entry in catalog)),
        "built-in tools": tokens(sum(map(len, DEFINITION_OF.values()))),
        "an answer with ten tools": sum(answers) // len(answers),
        "a full definition": sum(definitions) // len(definitions),
    }
