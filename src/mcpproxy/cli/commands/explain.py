"""`mcpproxy explain NAME`: why a server is in the state it is in."""

import click

from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent, segment
from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.core.text import escape_unsafe


@define("explain", "Say why a server is in the state it is in, and what happens next.")
@NAME
def command(name: str) -> None:
    options = find_globals()
    try:
        found = options.client().get(f"/api/v1/servers/{segment(name)}/explain")
    except DaemonAbsent:
        from mcpproxy.cli.offline import explanation

        found = explanation(options, name)
    if options.format != "table":
        output.show(found, options.format)
        return
    click.echo(
        f"{escape_unsafe(found['name'])} is {found['level']}: {escape_unsafe(found['summary'])}"
    )
    for line in found["lines"]:
        click.echo(f"  {escape_unsafe(line)}")
    click.echo(f"What to do: {escape_unsafe(found['next_step'])}")
