"""Switch tools on or off by pattern: by the daemon, or in the file itself when none runs."""

from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent, segment
from mcpproxy.cli.context import Globals
from mcpproxy.cli.editing import config_file
from mcpproxy.core.errors import UsageError
from mcpproxy.core.text import escape_unsafe

_DONE = {"enable": "Enabled", "disable": "Disabled"}


def switch(options: Globals, names: tuple[str, ...], action: str) -> None:
    """`names` are SERVER:PATTERN."""
    done = [_switch(options, *_read(name), action) for name in names]
    if options.format != "table":
        output.show(done, options.format)
        return
    for each in done:
        what = escape_unsafe(f"{each['server']}:{each['pattern']}")
        click.echo(f"{_DONE[action]} {what}.")
        if each.get("note"):
            click.echo(escape_unsafe(each["note"]))


def _switch(options: Globals, server: str, pattern: str, action: str) -> dict[str, Any]:
    path = f"/api/v1/servers/{segment(server)}/tools/{action}"
    try:
        done: dict[str, Any] = options.client().post(path, {"pattern": pattern})
    except DaemonAbsent:
        file = config_file(options)
        change = file.enable_tools if action == "enable" else file.disable_tools
        done = {
            "server": server,
            "pattern": pattern,
            "action": action,
            "note": change(server, pattern),
        }
    return done


def _read(name: str) -> tuple[str, str]:
    server, colon, pattern = name.partition(":")
    if not (colon and server and pattern):
        raise UsageError(
            f"{name!r} names no tools.",
            next_step="Write SERVER:TOOL, with * for anything: 'github:delete_*'.",
        )
    return server, pattern
