"""`mcpproxy tools search WORDS`."""

import click

from mcpproxy.cli.client import segment
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.toolview import show_tools
from mcpproxy.core.errors import UsageError


@define("search", "Search the tools of all servers by words.")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", default=10, type=click.IntRange(1, 100), help="How many at most.")
def command(words: tuple[str, ...], limit: int) -> None:
    options = find_globals()
    text = " ".join(words).strip()
    if not text:
        raise UsageError(
            "There are no words to search for.",
            next_step="`mcpproxy tools list` shows all tools.",
        )
    query = segment(text)
    found = options.client().get(f"/api/v1/tools/search?q={query}&limit={limit}")["tools"]
    show_tools(options, found)
