"""`mcpproxy stdio`: the MCP endpoint over stdin and stdout, for clients that start a program.

The bridge talks to the running daemon; no secret sits in the client's configuration.
"""

import asyncio
import subprocess
import sys

import click

from mcpproxy.cli.command import define
from mcpproxy.cli.complete import profiles
from mcpproxy.cli.context import Globals, find_globals
from mcpproxy.config.listen import read_listen
from mcpproxy.core.errors import UsageError
from mcpproxy.gateway.bridge import Bridge
from mcpproxy.gateway.local_http import Daemon
from mcpproxy.storage.ownership import find_daemon


@define("stdio", "Bridge stdin and stdout to the daemon, for MCP clients that start a program.")
@click.option("--server", metavar="NAME", help="Only this server, its names unchanged.")
@click.option(
    "--profile", metavar="NAME", shell_complete=profiles, help="Only this profile's servers."
)
@click.option("--start", is_flag=True, help="Start the daemon when none runs.")
def command(server: str | None, profile: str | None, start: bool) -> None:
    options = find_globals()
    if server and profile:
        raise UsageError("--server and --profile exclude each other.", next_step="Leave one out.")
    path = f"/mcp/p/{profile}" if profile else f"/mcp/s/{server}" if server else "/mcp"
    if start and find_daemon(options.reach().location.data_dir) is None:
        _start_daemon(options)
    bridge = Bridge(lambda: _find(options, path), sys.stdin.buffer, sys.stdout.buffer)
    asyncio.run(bridge.run())


def _find(options: Globals, path: str) -> Daemon | None:
    """Where the daemon is now; a restart may have moved it."""
    reach = options.reach()
    record = find_daemon(reach.location.data_dir)
    if record is None or not record.listen:
        return None
    listen = read_listen(record.listen)
    return Daemon(listen.host, listen.port, reach.api_key, record.socket or None, path)


def _start_daemon(options: Globals) -> None:
    """On its own: it outlives the client that asked for it. The bridge waits until it answers."""
    flags = options.flags
    arguments = [sys.executable, "-m", "mcpproxy"]
    if flags.config:
        arguments += ["--config", flags.config]
    if flags.data_dir:
        arguments += ["--data-dir", flags.data_dir]
    subprocess.Popen(  # noqa: S603 - our own program, no shell
        [*arguments, "serve"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
