"""`mcpproxy completion SHELL`: the script that completes commands in a shell."""

import click
from click.shell_completion import get_completion_class

from mcpproxy.cli.command import define


@define("completion", "Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice allows only shells that click knows
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "mcpproxy", "_MCPPROXY_COMPLETE").source())
