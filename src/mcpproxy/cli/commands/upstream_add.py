"""`mcpproxy upstream add NAME URL` or `mcpproxy upstream add NAME -- COMMAND ARGS…`."""

from typing import Any

import click

from mcpproxy.cli.command import NAME, Command, define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.editing import add, report
from mcpproxy.core.errors import UsageError

PROTOCOLS = ("auto", "http", "streamable-http", "sse", "stdio")


COMMANDS_GO = "A command goes after `--`: mcpproxy upstream add NAME -- COMMAND ARGS"


class _TakesCommand(Command):
    """Remembers whether there was a `--`; what comes after it is never an option or a URL."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["dashes"] = "--" in args
        return super().parse_args(ctx, args)


@define(
    "add",
    "Add a server: NAME URL for a remote one, NAME -- COMMAND ARGS for a local one.",
    kind=_TakesCommand,
)
@NAME
@click.argument("target", nargs=-1, required=True, metavar="URL | -- COMMAND [ARGS]...")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="HTTP header.")
@click.option("--env", "env", multiple=True, metavar="NAME=VALUE", help="Environment variable.")
@click.option("--working-dir", metavar="DIR", help="Where the command runs.")
@click.option("--protocol", "--transport", type=click.Choice(PROTOCOLS), help="How to talk to it.")
@click.option("--client-id", metavar="ID", help="OAuth client that was registered by hand.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="OAuth scope to ask for.")
@click.option("--disabled", is_flag=True, help="Add it switched off.")
def command(
    name: str,
    target: tuple[str, ...],
    headers: tuple[str, ...],
    env: tuple[str, ...],
    working_dir: str | None,
    protocol: str | None,
    client_id: str | None,
    scopes: tuple[str, ...],
    disabled: bool,
) -> None:
    entry: dict[str, Any] = {}
    if click.get_current_context().meta["dashes"]:
        entry["command"], entry["args"] = _command(target)
    else:
        entry["url"] = _url(target)
    entry["headers"] = dict(_pair(each, ":") for each in headers)
    entry["env"] = dict(_pair(each, "=") for each in env)
    entry["working_dir"] = working_dir
    entry["protocol"] = protocol
    if client_id or scopes:
        entry["oauth"] = {"client_id": client_id, "scopes": list(scopes)}
    given = {key: value for key, value in entry.items() if value}
    if disabled:
        given["enabled"] = False
    report(find_globals(), add(find_globals(), name, given))


def _url(target: tuple[str, ...]) -> str:
    url, *more = target
    if not url.lower().startswith(("http://", "https://")):
        raise UsageError(
            f"{url!r} is not a URL that starts with https:// or http://.", next_step=COMMANDS_GO
        )
    if more:
        raise UsageError(f"There is more after the URL: {' '.join(more)!r}.", next_step=COMMANDS_GO)
    return url


def _command(target: tuple[str, ...]) -> tuple[str, list[str]]:
    command, *arguments = target
    if "://" in command and not arguments:
        raise UsageError(
            f"{command!r} is no command but a URL.",
            next_step=f"Write it without `--`. {COMMANDS_GO}",
        )
    return command, arguments


def _pair(text: str, separator: str) -> tuple[str, str]:
    key, found, value = text.partition(separator)
    if not found or not key.strip():
        raise UsageError(f"{key!r} has no value.", next_step=f"Write NAME{separator}VALUE.")
    return key.strip(), value.strip() if separator == ":" else value
