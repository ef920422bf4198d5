"""`mcpproxy tools enable SERVER:PATTERN…`."""

import click

from mcpproxy.cli.command import define
from mcpproxy.cli.complete import tools
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.toolswitch import switch


@define("enable", "Switch tools on by name; * stands for anything.")
@click.argument("names", nargs=-1, required=True, metavar="SERVER:PATTERN...", shell_complete=tools)
def command(names: tuple[str, ...]) -> None:
    switch(find_globals(), names, "enable")
