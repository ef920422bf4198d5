"""`mcpproxy upstream disable NAME`."""

from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.editing import edit, report


@define("disable", "Switch a server off; its login is kept alive.")
@NAME
def command(name: str) -> None:
    options = find_globals()
    report(options, edit(options, name, "disable"))
