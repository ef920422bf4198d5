"""`mcpproxy auth status [NAME]`: how the logins are."""

from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.servers import read_logins, read_server


@define("status", "Show expiry, last and next refresh of the logins.")
@click.argument("name", required=False)
@click.option("-s", "--server", metavar="NAME", help="The same as NAME.")
def command(name: str | None, server: str | None) -> None:
    options = find_globals()
    wanted = name or server
    found = read_logins(options)
    if wanted:
        found = [each for each in found if each["name"] == wanted]
        if not found:
            read_server(options, wanted)  # says so when there is no such server
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
        _health(login),
    )


def _health(login: dict[str, Any]) -> str:
    if login["health"] is None:
        return f"not configured (mcpproxy auth logout {login['name']} forgets it)"
    return f"{login['health']['level']} ({login['health']['line']})"
