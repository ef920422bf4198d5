"""`mcpproxy tools disable SERVER:PATTERN…`."""

import click

from mcpproxy.cli.command import define
from mcpproxy.cli.complete import tools
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.toolswitch import switch


@define("disable", "Switch tools off by name; * stands for anything.")
@click.argument("names", nargs=-1, required=True, metavar="SERVER:PATTERN...", shell_complete=tools)
def command(names: tuple[str, ...]) -> None:
    switch(find_globals(), names, "disable")
