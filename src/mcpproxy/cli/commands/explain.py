"""`mcpproxy explain NAME`: why a server is in the state it is in."""

from collections.abc import Iterator
from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent, segment
from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.core.text import escape_unsafe


@define(
    "explain",
    "Say why a server is in the state it is in, what happened to its login, and what happens next.",
)
@NAME
@click.option("--limit", type=click.IntRange(0), metavar="N", help="The last N lines in full.")
@click.option("--all", "everything", is_flag=True, help="Every line that is kept, in full.")
def command(name: str, limit: int | None, everything: bool) -> None:
    options = find_globals()
    try:
        found = options.client().get(f"/api/v1/servers/{segment(name)}/explain")
    except DaemonAbsent:
        from mcpproxy.cli.offline import explanation

        found = explanation(options, name)
    if limit is not None:
        found["ledger"] = found["ledger"][-limit:] if limit else []
    if options.format != "table":
        output.show(found, options.format)
        return
    in_full = everything or limit is not None
    for line in _page(found, [each["words"] for each in found["ledger"]] if in_full else None):
        click.echo(escape_unsafe(line))


def _page(found: dict[str, Any], ledger: list[str] | None) -> Iterator[str]:
    """The explanation, with these lines of the ledger, or with its story."""
    yield f"{found['name']} is {found['level']}: {found['summary']}"
    yield from _indented(found["lines"])
    happened = found["story"] if ledger is None else ledger
    if happened:
        yield "What happened:"
        yield from _indented(happened)
    kept, told = len(found["ledger"]), len(happened)
    if ledger is None and kept > told:
        yield f"  (in short; --all shows the {kept} lines that are kept)"
    if found["outlook"]:
        yield "What happens next:"
        yield from _indented(found["outlook"])
    yield f"What to do: {found['next_step']}"


def _indented(lines: list[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
