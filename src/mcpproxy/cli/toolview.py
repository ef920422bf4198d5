"""Tools as a table or as data."""

from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.context import Globals
from mcpproxy.core.text import shorten

DESCRIPTION_WIDTH = 80


def show_tools(options: Globals, tools: list[dict[str, Any]]) -> None:
    if options.format != "table":
        output.show(tools, options.format)
        return
    rows = [(each["server"], each["name"], _first_line(each["description"])) for each in tools]
    click.echo(output.table(("SERVER", "TOOL", "DESCRIPTION"), rows))


def _first_line(text: str) -> str:
    return shorten(text.strip().partition("\n")[0], DESCRIPTION_WIDTH)
