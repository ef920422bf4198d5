"""`mcpproxy activity list`: the last calls, newest first."""

import click

from mcpproxy.cli import output
from mcpproxy.cli.calls import HEAD, filters, query, row
from mcpproxy.cli.client import DaemonAbsent
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals


@define("list", "Show the last calls, newest first.")
@filters
@click.option("-n", "--limit", default=50, type=click.IntRange(1, 1000), help="How many at most.")
def command(limit: int, **chosen: str | None) -> None:
    options = find_globals()
    try:
        calls = options.client().get(f"/api/v1/activity{query(chosen, limit=limit)}")["calls"]
    except DaemonAbsent:
        from mcpproxy.cli.offline import calls as stored

        calls = stored(options, chosen, limit)
    if options.format == "table":
        click.echo(output.table(HEAD, [row(each) for each in calls]))
    else:
        output.show(calls, options.format)
