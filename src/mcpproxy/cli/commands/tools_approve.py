"""`mcpproxy tools approve [SERVER[:TOOL]…] [--all]`: look at definitions that wait, and approve.

Law: what is approved is what was shown: each with its digest, so that a definition that changes
meanwhile goes on waiting.
"""

from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.complete import held
from mcpproxy.cli.context import Globals, find_globals
from mcpproxy.core.errors import UnknownTool, UsageError
from mcpproxy.core.text import escape_unsafe

AT_ONCE = 5000
"""Names in one request: far from what a body may hold."""

_HOW = "Approve with: mcpproxy tools approve SERVER[:TOOL], or --all"
_COLOURS = {"+": "green", "-": "red"}


@define("approve", "Show the tools that wait for approval, and approve those that are named.")
@click.argument("names", nargs=-1, metavar="[SERVER[:TOOL]]...", shell_complete=held)
@click.option("--all", "everything", is_flag=True, help="Approve all that waits.")
def command(names: tuple[str, ...], everything: bool) -> None:
    options = find_globals()
    if names and everything:
        raise UsageError("Names and --all exclude each other.", next_step="Leave one out.")
    waiting = options.client().get("/api/v1/tools/held")["tools"]
    chosen = waiting if everything or not names else _named(waiting, names, options)
    is_look = not names and not everything
    if chosen and not is_look:
        tools = [{key: each[key] for key in ("server", "tool", "digest")} for each in chosen]
        for at in range(0, len(tools), AT_ONCE):
            options.client().post("/api/v1/tools/approve", {"tools": tools[at : at + AT_ONCE]})
    if options.format != "table":
        output.show([{**each, "approved": not is_look} for each in chosen], options.format)
        return
    if not chosen:
        click.echo("No tool waits for approval.")
        return
    for each in chosen:
        _show(each, "waits" if is_look else "approved")
    if is_look:
        click.echo(_HOW)


def _named(
    waiting: list[dict[str, Any]], names: tuple[str, ...], options: Globals
) -> list[dict[str, Any]]:
    """Those that the names stand for, each once. Raises UnknownTool."""
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for name in names:
        server, colon, tool = name.partition(":")
        found = [
            each
            for each in waiting
            if each["server"] == server and (not colon or each["tool"] == tool)
        ]
        if not found:
            _refuse(name, server, options)
        chosen.update({(each["server"], each["tool"]): each for each in found})
    return list(chosen.values())


def _refuse(name: str, server: str, options: Globals) -> None:
    from mcpproxy.cli.servers import read_server

    if read_server(options, server)["status"] == "quarantined":
        raise UnknownTool(
            f"{server} itself waits for approval: none of its tools is known yet.",
            next_step=f"mcpproxy upstream approve {server}",
        )
    raise UnknownTool(
        f"Nothing of {name} waits for approval.",
        next_step="`mcpproxy tools approve` shows what does.",
    )


def _show(each: dict[str, Any], state: str) -> None:
    words = "is new" if each["reason"] == "new" else "changed"
    click.echo(f"{escape_unsafe(each['server'])}:{escape_unsafe(each['tool'])} {words} - {state}")
    colours = output.wants_colour()
    for line in each["diff"]:
        shown = escape_unsafe(line)
        click.echo(click.style(shown, fg=_COLOURS.get(line[:1])) if colours else shown)
    click.echo()
