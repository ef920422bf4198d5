"""`mcpproxy auth status [NAME]`: how the logins are."""

from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.servers import read_server, read_servers


@define("status", "Show expiry, last and next refresh of the logins.")
@click.argument("name", required=False)
@click.option("-s", "--server", metavar="NAME", help="The same as NAME.")
def command(name: str | None, server: str | None) -> None:
    options = find_globals()
    wanted = name or server
    servers = [read_server(options, wanted)] if wanted else read_servers(options)
    found = [
        {"name": each["name"], **each["oauth"], "health": each["health"]}
        for each in servers
        if each["oauth"] is not None
    ]
    if options.format != "table":
        output.show(found, options.format)
        return
    head = ("NAME", "LOGIN", "TOKEN EXPIRES", "LAST REFRESH", "NEXT REFRESH", "HEALTH")
    click.echo(output.table(head, [_row(each) for each in found]))


def _row(login: dict[str, Any]) -> tuple[str, ...]:
    return (
        login["name"],
        "yes" if login["authenticated"] else "ended" if login["ended"] else "none",
        login["token_expires_at"] or ("unknown" if login["authenticated"] else "-"),
        login["last_refresh_at"] or "-",
        login["next_refresh_at"] or "-",
        f"{login['health']['level']} ({login['health']['line']})",
    )
