"""`mcpproxy status`: the daemon, its store and its servers in a few lines."""

from typing import Any, Final

import click

from mcpproxy import __version__
from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent
from mcpproxy.cli.command import define
from mcpproxy.cli.context import Globals, find_globals

LOOK_SECONDS: Final = 10.0
"""The daemon has it all in memory: one that takes longer hangs, and that is to be said soon."""


@define("status", "Show the daemon's version, addresses, store, key and servers.")
def command() -> None:
    options = find_globals()
    try:
        found = {"running": True, **options.client().get("/api/v1/status", seconds=LOOK_SECONDS)}
    except DaemonAbsent:
        found = _without_daemon(options)
    if options.format != "table":
        output.show(found, options.format)
        return
    for name, value in _rows(found):
        click.echo(f"{name:<14} {value}")


def _without_daemon(options: Globals) -> dict[str, Any]:
    reach = options.reach()
    return {
        "running": False,
        "version": __version__,
        "listen": reach.listen,
        "data_dir": str(reach.location.data_dir),
        "config_path": str(reach.location.config_path),
        "next_step": "Start the daemon: mcpproxy serve",
    }


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    state = f"running (pid {found['pid']})" if found["running"] else "not running"
    rows = [("mcpproxy", f"{found['version']}, {state}")]
    servers = found.get("servers")
    if servers:
        rows.append(("servers", _counts(servers)))
    names = {
        "endpoint": "endpoint",
        "listen": "listen",
        "socket": "socket",
        "uptime_seconds": "uptime",
        "store": "store",
        "store_trouble": "store trouble",
        "key_location": "API key",
        "routing_mode": "routing mode",
        "config_path": "configuration",
        "data_dir": "data dir",
        "next_step": "next",
    }
    for key, name in names.items():
        value = found.get(key)
        if value is not None:
            rows.append((name, _uptime(value) if key == "uptime_seconds" else str(value)))
    return rows


def _counts(servers: dict[str, int]) -> str:
    parts = [f"{servers['total']} configured", f"{servers['connected']} connected"]
    others = ("healthy", "degraded", "unhealthy", "disabled", "quarantined")
    return ", ".join([*parts, *(f"{servers[key]} {key}" for key in others if servers[key])])


def _uptime(seconds: float) -> str:
    from datetime import timedelta

    return str(timedelta(seconds=round(seconds)))
