"""The built-in tools of retrieve_tools mode, as clients see them."""

from collections.abc import Mapping
from typing import Final

from mcpproxy.gateway.access import Permit
from mcpproxy.gateway.tools import Effect
from mcpproxy.gateway.wire import jsonrpc

MAX_LIMIT: Final = 50
READ_CACHE: Final = "read_cache"
MAX_DESCRIBED: Final = 5

CALL_TOOLS: Final[Mapping[str, Effect]] = {
    "call_tool_read": Effect.READ,
    "call_tool_write": Effect.WRITE,
    "call_tool_destructive": Effect.DESTRUCTIVE,
}
"""Which variant carries out which effect; a stronger one carries out the weaker too."""

CALL_WITH: Final = {effect: name for name, effect in CALL_TOOLS.items()}


def _schema(required: list[str], **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": required}


_QUERY: Final = {
    "type": "string",
    "description": "What the tool should do, in a few words, such as 'create issue' or 'read file'",
}
_LIMIT: Final = {
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_LIMIT,
    "description": "How many tools at most",
}
_DETAIL: Final = {
    "type": "string",
    "enum": ["compact", "full"],
    "description": f"full: the whole definitions of the first {MAX_DESCRIBED} (default compact)",
}
_NAMES: Final = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "maxItems": MAX_DESCRIBED,
    "description": "Tools as server:tool",
}
_CALL: Final = _schema(
    ["name"],
    name={"type": "string", "description": "The tool as server:tool, as retrieve_tools names it"},
    args={"type": "object", "description": "The tool's arguments, by its inputSchema"},
)
_OPERATION: Final = {"type": "string", "enum": ["list"], "description": "list (the default)"}

_KEY: Final = {"type": "string", "description": "The key from the note below a result"}
_OFFSET: Final = {
    "type": "integer",
    "minimum": 0,
    "description": "The first character to read (default 0)",
}
_LENGTH: Final = {
    "type": "integer",
    "minimum": 1,
    "description": "How many characters at most (default and most: as many as a result may have)",
}

_READ_ONLY: Final = {"readOnlyHint": True, "openWorldHint": False}


def _call_tool(what: str, **annotations: bool) -> Mapping[str, object]:
    return {
        "description": f"Call a tool that {what}. Find tools and their schemas with "
        "retrieve_tools first; its call_with says which of the call_tool tools to use.",
        "inputSchema": _CALL,
        "annotations": annotations,
    }


_TOOLS: Final[Mapping[str, tuple[Permit, Mapping[str, object]]]] = {
    "retrieve_tools": (
        Permit.READ,
        {
            "description": "Find tools among all connected servers. Answers with names, first "
            "lines of descriptions, args (required parameters with types, optional ones with ?) "
            "and call_with, the tool to call them by. "
            "Ask for what you want to do before you say that it cannot be done.",
            "inputSchema": _schema(["query"], query=_QUERY, limit=_LIMIT, detail=_DETAIL),
            "annotations": _READ_ONLY,
        },
    ),
    "describe_tool": (
        Permit.READ,
        {
            "description": "The full definitions, with input schemas, of tools that you know by "
            "name. Ask for them when the args of retrieve_tools do not say enough to call a tool.",
            "inputSchema": _schema(["names"], names=_NAMES),
            "annotations": _READ_ONLY,
        },
    ),
    "call_tool_read": (Permit.READ, _call_tool("only reads", readOnlyHint=True)),
    "call_tool_write": (
        Permit.WRITE,
        _call_tool(
            "creates or changes things without destroying any",
            readOnlyHint=False,
            destructiveHint=False,
        ),
    ),
    "call_tool_destructive": (
        Permit.DESTRUCTIVE,
        _call_tool(
            "may delete or overwrite things, or does not say what it does",
            readOnlyHint=False,
            destructiveHint=True,
        ),
    ),
    READ_CACHE: (
        Permit.READ,
        {
            "description": "Read on in a result that was too long to be shown whole. The note "
            "below such a result has the key and the next offset.",
            "inputSchema": _schema(["key"], key=_KEY, offset=_OFFSET, limit=_LENGTH),
            "annotations": _READ_ONLY,
        },
    ),
    "upstream_servers": (
        Permit.READ,
        {
            "description": "The connected servers with their health, and what to do about trouble.",
            "inputSchema": _schema([], operation=_OPERATION),
            "annotations": _READ_ONLY,
        },
    ),
}

PERMIT_OF: Final = {name: permit for name, (permit, _) in _TOOLS.items()}
DEFINITION_OF: Final = {
    name: jsonrpc.encode({"name": name, **definition}) for name, (_, definition) in _TOOLS.items()
}
