"""Changes to the server list: by the daemon, or in the file itself when none runs."""

import os
from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent, segment
from mcpproxy.cli.context import Globals, note
from mcpproxy.core.text import escape_unsafe

_DONE = {
    "add": "Added {server}.",
    "remove": "Removed {server}.",
    "enable": "Enabled {server}.",
    "disable": "Disabled {server}.",
    "approve": "Approved {server}.",
    "quarantine": "Quarantined {server}.",
    "restart": "Restarting {server}.",
    "logout": "Logged out of {server}.",
}


def add(options: Globals, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """`entry` has the keys of the configuration file."""
    try:
        done: dict[str, Any] = options.client().post("/api/v1/servers", {"name": name, **entry})
    except DaemonAbsent:
        file = config_file(options)
        file.prepare()
        file.add_server(name, entry)
        done = {"server": name, "action": "add"}
    return done


def edit(options: Globals, name: str, action: str) -> dict[str, Any]:
    """remove, enable, disable, approve or quarantine."""
    path = f"/api/v1/servers/{segment(name)}"
    try:
        if action == "remove":
            done: dict[str, Any] = options.client().delete(path)
        else:
            done = options.client().post(f"{path}/{action}")
    except DaemonAbsent:
        file = config_file(options)
        changes = {
            "remove": file.remove_server,
            "enable": file.enable,
            "disable": file.disable,
            "approve": file.approve,
            "quarantine": file.quarantine,
        }
        changes[action](name)
        done = {"server": name, "action": action}
    return done


def report(options: Globals, done: dict[str, Any]) -> None:
    """Say what was done."""
    if options.format != "table":
        output.show(done, options.format)
        return
    click.echo(_DONE[done["action"]].format(server=escape_unsafe(done["server"])))
    if done.get("note"):
        click.echo(escape_unsafe(done["note"]))


def config_file(options: Globals) -> Any:
    """The file, for changes when no daemon makes them."""
    from mcpproxy.config.edit import ConfigFile

    note("(no daemon runs; the configuration file is changed)")
    return ConfigFile(options.reach().location, os.environ)
