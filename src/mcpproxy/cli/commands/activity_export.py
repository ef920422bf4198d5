"""`mcpproxy activity export`: all calls that are kept, for other programs."""

import click

from mcpproxy.cli.calls import filters, query
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.output import escape_data


@define("export", "Write all calls, oldest first, as JSON lines or CSV.")
@filters
@click.option(
    "--format", "kind", default="jsonl", type=click.Choice(("jsonl", "csv")), help="How to write."
)
def command(kind: str, **chosen: str | None) -> None:
    lines = find_globals().client().stream(f"/api/v1/activity/export{query(chosen, format=kind)}")
    for text in lines:
        click.echo(escape_data(text.rstrip("\r\n")))
