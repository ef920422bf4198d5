"""Servers as the daemon knows them, or as store and configuration do when none runs."""

from typing import Any

from mcpproxy.cli.client import DaemonAbsent, segment
from mcpproxy.cli.context import Globals


def read_servers(options: Globals) -> list[dict[str, Any]]:
    """All servers, sorted by name."""
    try:
        found: list[dict[str, Any]] = options.client().get("/api/v1/servers")["servers"]
    except DaemonAbsent:
        from mcpproxy.cli.offline import servers

        found = servers(options)
    return sorted(found, key=lambda each: str(each["name"]))


def read_server(options: Globals, name: str) -> dict[str, Any]:
    """One server. Raises UnknownServer, or the daemon's word for it."""
    try:
        found: dict[str, Any] = options.client().get(f"/api/v1/servers/{segment(name)}")
    except DaemonAbsent:
        from mcpproxy.cli.offline import server

        found = server(options, name)
    return found


def read_logins(options: Globals) -> list[dict[str, Any]]:
    """All logins, sorted by name; those whose server is gone have `configured` false."""
    try:
        found: dict[str, Any] = options.client().get("/api/v1/servers")
    except DaemonAbsent:
        from mcpproxy.cli.offline import listing

        found = listing(options)
    logins = [
        {"name": each["name"], "configured": True, **each["oauth"], "health": each["health"]}
        for each in found["servers"]
        if each["oauth"] is not None
    ]
    logins += [
        {"name": each["server"], "configured": False, **each["oauth"], "health": None}
        for each in found["kept_logins"]
    ]
    return sorted(logins, key=lambda each: str(each["name"]))
