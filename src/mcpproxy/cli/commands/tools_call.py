"""`mcpproxy tools call SERVER:TOOL ['{"argument": …}']`; SERVER TOOL as two words works too."""

import json
import sys
from typing import Any, Final

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.core.errors import UsageError
from mcpproxy.core.text import escape_lines

LONGEST_CALL_SECONDS: Final = 24 * 3600.0
"""The daemon ends a call, after a time that only it knows; this is longer than any of use."""


@define("call", "Call a tool. ARGUMENTS is a JSON object, or - to read it from standard input.")
@click.argument("tool", metavar="SERVER:TOOL")
@click.argument("words", nargs=-1, metavar="[ARGUMENTS]")
@click.option(
    "--timeout", type=click.FloatRange(1, 600), help="Seconds to wait; default: as configured."
)
def command(tool: str, words: tuple[str, ...], timeout: float | None) -> int:
    options = find_globals()
    server, name, arguments = _read(tool, words)
    body = {
        "server": server,
        "tool": name,
        "arguments": _arguments(arguments),
        "timeout": timeout,
    }
    seconds = LONGEST_CALL_SECONDS if timeout is None else timeout + 5
    answer = options.client().post("/api/v1/tools/call", body, seconds=seconds)
    result = answer["result"]
    if options.format == "table":
        click.echo(_text(result))
    else:
        output.show(result, options.format)
    return 1 if isinstance(result, dict) and result.get("isError") else 0


def _read(tool: str, words: tuple[str, ...]) -> tuple[str, str, str | None]:
    """Server, tool and arguments, from `server:tool` or from two words."""
    server, colon, name = tool.partition(":")
    if not colon:
        if not words:
            raise UsageError(
                f"'{tool}' names no tool.",
                next_step="Write SERVER:TOOL; see `mcpproxy tools list`.",
            )
        name, words = words[0], words[1:]
    if len(words) > 1:
        raise UsageError(
            "There is more than one word for the arguments.",
            next_step="""Write them as one JSON object, in quotes: '{"name": "value"}'.""",
        )
    return server, name, words[0] if words else None


def _arguments(text: str | None) -> Any:
    if text is None:
        return {}
    text = sys.stdin.read() if text == "-" else text
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise UsageError(
            "The arguments are nested too deeply.", next_step="Write them flatter."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"The arguments are not JSON: {error}.", next_step="""Write '{"name": "value"}'."""
        ) from error
    if not isinstance(found, dict):
        raise UsageError(
            "The arguments are not a JSON object.", next_step="""Write '{"name": "value"}'."""
        )
    return found


def _text(result: Any) -> str:
    """The text of a result that is nothing but text, else its JSON."""
    content = result.get("content") if isinstance(result, dict) else None
    if isinstance(content, list) and content and all(_is_text(each) for each in content):
        return "\n".join(escape_lines(each["text"]) for each in content)
    return output.as_json(result)


def _is_text(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("text"), str)
