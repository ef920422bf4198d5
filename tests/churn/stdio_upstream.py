"""A small MCP server over stdin and stdout that starts in an instant; it dies when it is killed."""

import json
import sys
import threading
from typing import Any

SAY = threading.Lock()
ASKING: dict[str, dict[str, Any]] = {}
"""Calls that wait for a person, by the id of our question."""

QUESTION = {"message": "Go on?", "requestedSchema": {"type": "object", "properties": {}}}
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
    for name in ("echo", "slow", "ask")
]


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request; None for what is not known here."""
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "churned", "version": "1"},
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return {"content": [{"type": "text", "text": message["params"]["name"]}]}
        case "ping":
            return {}
        case _:
            return None


def say(message: dict[str, Any]) -> None:
    with SAY:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def respond(message: dict[str, Any]) -> None:
    result = answer(message)
    envelope: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    if result is None:
        say({**envelope, "error": {"code": -32601, "message": "not known"}})
    else:
        say({**envelope, "result": result})


def ask(message: dict[str, Any]) -> None:
    question = f"question-{message['id']}"
    ASKING[question] = message
    say({"jsonrpc": "2.0", "id": question, "method": "elicitation/create", "params": QUESTION})


def take(message: dict[str, Any]) -> None:
    if "method" not in message:
        if (asked := ASKING.pop(message["id"], None)) is not None:
            respond(asked)
    elif "id" in message:
        tool = message["params"]["name"] if message["method"] == "tools/call" else ""
        if tool == "slow":
            timer = threading.Timer(0.2, respond, (message,))
            timer.daemon = True
            timer.start()
        elif tool == "ask":
            ask(message)
        else:
            respond(message)


def main() -> None:
    for line in sys.stdin:
        take(json.loads(line))


if __name__ == "__main__":
    main()
