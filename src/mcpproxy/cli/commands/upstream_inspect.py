"""`mcpproxy upstream inspect NAME`: everything that is known of one server."""

from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.servers import read_server


@define("inspect", "Show everything that is known of one server.")
@NAME
def command(name: str) -> None:
    options = find_globals()
    server = read_server(options, name)
    if options.format == "table":
        rows = list(_rows("", server))
        click.echo(output.table(("FIELD", "VALUE"), rows))
    else:
        output.show(server, options.format)


def _rows(prefix: str, fields: dict[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in fields.items():
        if isinstance(value, dict):
            rows += _rows(f"{prefix}{key}.", value)
        elif value not in (None, "", []):
            shown = " ".join(map(str, value)) if isinstance(value, list) else value
            rows.append((prefix + key, str(shown)))
    return rows
