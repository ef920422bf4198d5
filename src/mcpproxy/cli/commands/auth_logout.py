"""`mcpproxy auth logout NAME`: revoke the login at the provider and forget it here."""

from typing import Final

import click

from mcpproxy.cli.client import segment
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals, require
from mcpproxy.cli.editing import report

ANSWER_SECONDS: Final = 120.0
"""A refresh in flight is waited for, 25 s, and the provider for as long as a lease holds, 40 s;
more where the configuration gives them more.
"""


@define("logout", "Revoke a login at its provider and forget it here.")
@click.argument("name", required=False)
@click.option("-s", "--server", metavar="NAME", help="The same as NAME.")
def command(name: str | None, server: str | None) -> None:
    options = find_globals()
    wanted = require(name or server, "The server's name")
    path = f"/api/v1/servers/{segment(wanted)}/logout"
    report(options, options.client().post(path, seconds=ANSWER_SECONDS))
