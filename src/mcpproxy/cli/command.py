"""The decorator that makes a function a command."""

from collections.abc import Callable
from typing import Any

import click

from mcpproxy.cli.complete import servers


class Command(click.Command):
    """A command that takes the global options."""

    def invoke(self, ctx: click.Context) -> Any:
        from mcpproxy.cli.program import take_globals

        take_globals(ctx)
        return super().invoke(ctx)


def define(
    name: str, text: str, *, kind: type[Command] = Command
) -> Callable[[Callable[..., Any]], click.Command]:
    """A command called `name`; what the function returns is the exit code (None is 0)."""
    return click.command(name, cls=kind, help=text, short_help=text.partition("\n")[0])


NAME = click.argument("name", metavar="NAME", shell_complete=servers)
