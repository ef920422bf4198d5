"""`mcpproxy serve`: run the daemon."""

import sys
from typing import TYPE_CHECKING

import click

from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals

if TYPE_CHECKING:
    from mcpproxy.daemon import Announcement


@define("serve", "Run the daemon in the foreground, on 127.0.0.1:8080 unless told otherwise.")
@click.option("-l", "--listen", metavar="HOST:PORT", help="Where to listen.")
def command(listen: str | None) -> int:
    from mcpproxy.daemon import run

    run(find_globals().flags._replace(listen=listen), _announce)
    return 0


def _announce(found: "Announcement") -> None:
    """Ready to paste; the key only to a person's terminal, never into a file or a journal."""
    key = found.api_key.reveal() if sys.stdout.isatty() else f"in {found.config_path}"
    click.echo("mcpproxy is running; stop it with Ctrl-C")
    click.echo(f"  MCP endpoint   {found.endpoint}")
    click.echo(f"  API key        {key}   (send it as the header X-API-Key)")
    click.echo(f"  configuration  {found.config_path}")
