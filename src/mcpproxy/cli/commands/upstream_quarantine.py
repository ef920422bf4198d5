"""`mcpproxy upstream quarantine NAME`."""

from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.editing import edit, report


@define("quarantine", "Offer nothing of a server, and do not connect to it, until it is approved.")
@NAME
def command(name: str) -> None:
    options = find_globals()
    report(options, edit(options, name, "quarantine"))
