"""`mcpproxy upstream list`: the servers and their health."""

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.servers import read_servers

STATUS_WIDTH = 11
"""As wide as `quarantined`, so that the columns stay where they are when a state changes."""


@define("list", "List the servers with their state and health.")
def command() -> None:
    options = find_globals()
    servers = read_servers(options)
    if options.format != "table":
        output.show(servers, options.format)
        return
    rows = [
        (each["name"], each["status"], f"{each['health']['level']} ({each['health']['line']})")
        for each in servers
    ]
    text = output.table(("NAME", "STATUS", "HEALTH"), rows, at_least=(0, STATUS_WIDTH))
    click.echo(output.colour_levels(text))
