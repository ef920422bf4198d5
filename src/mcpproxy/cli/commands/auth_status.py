"""`mcpproxy auth status [NAME]`: how the logins are."""

from collections.abc import Iterator
from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.servers import read_logins, read_server
from mcpproxy.core.text import escape_unsafe

HEAD = ("NAME", "LOGIN", "TOKEN EXPIRES", "LAST REFRESH", "NEXT REFRESH", "LOGIN ENDS", "HEALTH")


@define("status", "Show expiry, last and next refresh of the logins, and when they end if known.")
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
    click.echo(output.table(HEAD, [_row(each) for each in found]))
    for each in found:
        for line in _ends(each) if wanted is None else (*_ends(each), *_provider(each)):
            click.echo(escape_unsafe(line))


def _row(login: dict[str, Any]) -> tuple[str, ...]:
    return (
        login["name"],
        "yes" if login["authenticated"] else "ended" if login["ended"] else "none",
        login["token_expires_at"] or ("unknown" if login["authenticated"] else "-"),
        login["last_refresh_at"] or "-",
        login["next_refresh_at"] or "-",
        login["ends_at"] or "-",
        _health(login),
    )


def _health(login: dict[str, Any]) -> str:
    if login["health"] is None:
        return f"not configured (mcpproxy auth logout {login['name']} forgets it)"
    return f"{login['health']['level']} ({login['health']['line']})"


def _ends(login: dict[str, Any]) -> Iterator[str]:
    if login["ends_at"] is not None:
        yield f"{login['name']} ends at {login['ends_at']}, because {login['ends_because']}."


def _provider(login: dict[str, Any]) -> Iterator[str]:
    """What is known of the provider; asked for by naming the server."""
    known = login["provider"]
    if known is None:
        return
    name = known["profile"] or "no profile; what it does is learned from its answers"
    yield f"Provider: {login['issuer']} ({name})"
    rotates = {True: "yes", False: "no", None: "not known yet"}[known["rotates"]]
    yield f"New refresh token with each refresh: {rotates}"
    life = known["usual_life_seconds"]
    yield f"Usual life of an access token: {'not known yet' if life is None else _span(life)}"
    if known["note"]:
        yield f"Note: {known['note']}"


def _span(seconds: float) -> str:
    from datetime import timedelta

    from mcpproxy.core.health import countdown

    return countdown(timedelta(seconds=seconds))
