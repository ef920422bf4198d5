"""The log of activity on the command line: its filters, and how a call looks."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mcpproxy.cli.client import segment
from mcpproxy.cli.complete import servers
from mcpproxy.core.text import escape_unsafe

Function = TypeVar("Function", bound=Callable[..., Any])

OUTCOMES = ("ok", "error", "unavailable", "overloaded", "denied")
HEAD = ("TIME", "SERVER", "METHOD", "NAME", "OUTCOME", "MS", "CLIENT", "REQUEST")

_FILTERS = (
    click.option("--server", metavar="NAME", shell_complete=servers, help="Only of this server."),
    click.option("--tool", metavar="NAME", help="Only of this tool, prompt or resource."),
    click.option("--method", metavar="METHOD", help="Only of this method, such as tools/call."),
    click.option("--outcome", type=click.Choice(OUTCOMES), help="Only those that ended so."),
    click.option("--client", metavar="NAME", help="Only of this program."),
    click.option("--caller", metavar="NAME", help="Only of whoever has this key."),
    click.option("--request-id", metavar="ID", help="Only of this request."),
    click.option("--since", metavar="TIME", help="Only from this time on (RFC 3339)."),
    click.option("--until", metavar="TIME", help="Only before this time."),
)


def filters(command: Function) -> Function:
    """The options that choose calls."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def query(chosen: dict[str, str | None], **more: str | int) -> str:
    """The query of a URL for these filters."""
    given = {name: value for name, value in chosen.items() if value is not None}
    pairs = [f"{name}={segment(str(value))}" for name, value in {**given, **more}.items()]
    return "?" + "&".join(pairs) if pairs else ""


def row(call: dict[str, Any]) -> tuple[str, ...]:
    return (
        call["at"],
        call["server"],
        call["method"],
        call["tool"],
        call["outcome"],
        f"{call['duration_ms']:g}",
        call["client"] or call["caller"],
        call["request_id"],
    )


def line(call: dict[str, Any]) -> str:
    """A row of no table: columns that line up often enough."""
    at, server, method, tool, outcome, ms, client, request_id = map(escape_unsafe, row(call))
    what = f"{method} {server}:{tool}"
    return f"{at} {what:<40} {outcome:<11} {ms:>9} ms  {client} {request_id}".rstrip()
