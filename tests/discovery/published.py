"""Another set than ours, in the form that mcpproxy-go publishes: tools without schemas, and
questions with graded tools.

Law: a tool of grade 0 is a wrong one that is near; recall is of tools, not of questions.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Final

from mcpproxy.gateway.catalog import Catalog
from mcpproxy.gateway.search.index import ToolIndex
from mcpproxy.gateway.tools import Tool
from tests.discovery.evaluation import PLACES, as_tool, put

FIRST: Final = 5


def published(folder: Path) -> dict[str, float]:
    """The figures for `corpus_v1.tools.json` and `retrieval_golden_v1.json` of this folder."""
    catalog, index = Catalog(), ToolIndex()
    servers: dict[str, list[Tool]] = defaultdict(list)
    for each in json.loads((folder / "corpus_v1.tools.json").read_text("utf-8"))["tools"]:
        definition = {"name": each["tool"], "description": each["description"], "inputSchema": {}}
        servers[each["server"]].append(as_tool(definition))
    for server, tools in servers.items():
        put(catalog, index, server, tools)
    index.settle_now()
    recall: list[float] = []
    ranks: list[float] = []
    for each in json.loads((folder / "retrieval_golden_v1.json").read_text("utf-8"))["queries"]:
        right = {label["tool_id"] for label in each["labels"] if label["relevance"] > 0}
        found = [entry.id for entry, _ in index.search(each["query"], PLACES)]
        recall.append(len(right & set(found[:FIRST])) / len(right))
        ranks.append(next((1 / at for at, tool in enumerate(found, 1) if tool in right), 0.0))
    return {
        "tools": len(catalog),
        "queries": len(ranks),
        f"recall@{FIRST}": round(sum(recall) / len(recall), 3),
        "MRR": round(sum(ranks) / len(ranks), 3),
    }
