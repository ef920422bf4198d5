"""`mcpproxy activity watch`: calls as they happen."""

import json

import click

from mcpproxy.cli.calls import filters, line, query
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.output import escape_data


@define("watch", "Show calls as they happen; with -o json a line of JSON for each.")
@filters
@click.option("-n", "--tail", default=10, type=click.IntRange(1, 1000), help="How many old ones.")
def command(tail: int, **chosen: str | None) -> None:
    options = find_globals()
    for text in options.client().stream(
        f"/api/v1/activity{query(chosen, limit=tail, follow='true')}"
    ):
        if text.strip():
            is_table = options.format == "table"
            click.echo(line(json.loads(text)) if is_table else escape_data(text.rstrip()))
