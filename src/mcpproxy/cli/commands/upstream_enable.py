"""`mcpproxy upstream enable NAME`."""

from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.editing import edit, report


@define("enable", "Switch a server on.")
@NAME
def command(name: str) -> None:
    options = find_globals()
    report(options, edit(options, name, "enable"))
