"""Tools of businesses that nobody asked about, to stand in the way of those that were.

Law: the same every time; their verbs and parameters are those of the real tools, their subjects
are not.
"""

from collections.abc import Iterator
from itertools import product

from mcpproxy.gateway.tools import Tool
from tests.discovery.evaluation import as_tool

_VERBS = {
    "create": "Create a new {noun} in {vendor}",
    "list": "List all {noun}s, with filters by status and owner",
    "get": "Get the details of one {noun} by its id",
    "update": "Update fields of an existing {noun}",
    "delete": "Delete a {noun} for good",
    "search": "Search {noun}s by words in their name or description",
    "export": "Export {noun}s as a file",
    "assign": "Assign a {noun} to a user or a team",
    "approve": "Approve a {noun} that waits for review",
    "cancel": "Cancel a {noun}, with a reason",
    "add_comment_to": "Add a comment to a {noun}",
    "get_history_of": "Show the history of changes of a {noun}",
}
_NOUNS = """
    auction bid booking broker campaign claim coin contract coupon course crop dividend donation
    exam flight harvest invoice lead lease loan meter mortgage parcel patient playlist policy
    portfolio recipe sensor shipment student subscription tenant turbine vacancy vehicle wallet
    warehouse
"""
_PARAMETERS = {
    "limit": {"type": "integer", "description": "How many to return"},
    "status": {"type": "string", "enum": ["open", "closed", "all"], "description": "Which ones"},
    "name": {"type": "string", "description": "The name or title"},
    "content": {"type": "string", "description": "The text, as markdown"},
}


def distractors(count: int) -> Iterator[tuple[str, list[Tool]]]:
    """Servers with their tools, `count` in all."""
    for number in range(count):
        vendor = f"vendor{number}"
        pairs = list(product(_NOUNS.split(), _VERBS))[:count]
        yield vendor, [_tool(vendor, noun, verb) for noun, verb in pairs]
        count -= len(pairs)
        if count <= 0:
            return


def _tool(vendor: str, noun: str, verb: str) -> Tool:
    properties = {f"{noun}_id": {"type": "string", "description": f"The {noun}"}, **_PARAMETERS}
    return as_tool(
        {
            "name": f"{verb}_{noun}",
            "description": f"{_VERBS[verb].format(noun=noun, vendor=vendor)}. Returns JSON.",
            "inputSchema": {"type": "object", "properties": properties, "required": ["name"]},
        }
    )
