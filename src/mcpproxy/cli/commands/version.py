"""`mcpproxy version`."""

import click

from mcpproxy import __version__
from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals


@define("version", "Print the version.")
def command() -> None:
    kind = find_globals().format
    if kind == "table":
        click.echo(f"mcpproxy {__version__}")
    else:
        output.show({"name": "mcpproxy", "version": __version__}, kind)
