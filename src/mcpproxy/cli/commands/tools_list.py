"""`mcpproxy tools list [SERVER]`."""

import click

from mcpproxy.cli.client import segment
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.toolview import show_tools


@define("list", "List the tools of all servers, or of one.")
@click.argument("server", required=False)
def command(server: str | None) -> None:
    options = find_globals()
    query = f"?server={segment(server)}" if server else ""
    show_tools(options, options.client().get(f"/api/v1/tools{query}")["tools"])
