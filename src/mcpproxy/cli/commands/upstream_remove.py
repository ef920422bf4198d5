"""`mcpproxy upstream remove NAME`."""

from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.editing import edit, report


@define("remove", "Remove a server; its login is kept.")
@NAME
def command(name: str) -> None:
    options = find_globals()
    report(options, edit(options, name, "remove"))
