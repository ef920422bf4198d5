"""`mcpproxy auth logout NAME`: revoke the login at the provider and forget it here."""

import click

from mcpproxy.cli.client import segment
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals, require
from mcpproxy.cli.editing import report


@define("logout", "Revoke a login at its provider and forget it here.")
@click.argument("name", required=False)
@click.option("-s", "--server", metavar="NAME", help="The same as NAME.")
def command(name: str | None, server: str | None) -> None:
    options = find_globals()
    wanted = require(name or server, "The server's name")
    report(options, options.client().post(f"/api/v1/servers/{segment(wanted)}/logout"))
