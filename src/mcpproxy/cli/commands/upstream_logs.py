"""`mcpproxy upstream logs NAME [-f]`: what a server wrote, and what happened to it."""

import click

from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent, segment
from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import Globals, find_globals, note
from mcpproxy.cli.servers import read_server
from mcpproxy.core.text import escape_unsafe


@define("logs", "Show a server's log.")
@NAME
@click.option("-n", "--tail", default=50, type=click.IntRange(0, 1000), help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
def command(name: str, tail: int, follow: bool) -> None:
    options = find_globals()
    path = f"/api/v1/servers/{segment(name)}/logs?tail={tail}"
    if follow:
        for line in options.client().stream(f"{path}&follow=true"):
            click.echo(escape_unsafe(line))
        return
    try:
        lines = options.client().get(path)["lines"]
    except DaemonAbsent:
        lines = _from_file(options, name, tail)
    if options.format == "table":
        for line in lines:
            click.echo(escape_unsafe(line))
    else:
        output.show(lines, options.format)


def _from_file(options: Globals, name: str, tail: int) -> list[str]:
    from mcpproxy.observability.upstream_log import log_path, read_tail

    read_server(options, name)
    directory = options.reach().location.data_dir / "logs"
    note(f"(read from {log_path(directory, name)})")
    return list(read_tail(log_path(directory, name), tail))
