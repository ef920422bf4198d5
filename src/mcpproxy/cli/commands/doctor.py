"""`mcpproxy doctor`: look at everything that could be wrong, and say what to do."""

import os
from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent
from mcpproxy.cli.command import define
from mcpproxy.cli.context import Globals, find_globals
from mcpproxy.core.errors import McpproxyError

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@define("doctor", "Check configuration, port, data dir, key, clock, certificates and servers.")
def command() -> int:
    options = find_globals()
    checks = [_config(options), *(_daemon(options) or _local(options))]
    if options.format == "table":
        for each in checks:
            _print(each)
    else:
        output.show(checks, options.format)
    return 1 if any(each["state"] == "fail" for each in checks) else 0


def _local(options: Globals) -> list[dict[str, Any]]:
    import msgspec

    from mcpproxy.web.doctor import local_checks

    data_dir = options.reach().location.data_dir
    absent = _check("daemon", "warn", "no daemon runs", "Start one: mcpproxy serve")
    found = local_checks(data_dir, os.environ)
    return [absent, *(msgspec.to_builtins(each) for each in found)]


def _config(options: Globals) -> dict[str, Any]:
    from mcpproxy.config.load import load

    location = options.reach().location
    if not location.config_path.exists():
        found = f"{location.config_path} does not exist yet"
        return _check("configuration", "warn", found, "`mcpproxy serve` makes it.")
    try:
        settings = load(location._replace(api_key=location.api_key or "none"), os.environ)
    except McpproxyError as error:
        problems = [str(each) for each in getattr(error, "problems", ())]
        found = "; ".join([error.message, *problems])
        return _check("configuration", "fail", found, error.next_step)
    if settings.warnings:
        return _check("configuration", "warn", "; ".join(settings.warnings), "See the reference.")
    servers = len(settings.upstreams)
    return _check("configuration", "ok", f"{location.config_path} with {servers} servers")


def _daemon(options: Globals) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = options.client().get("/api/v1/doctor")["checks"]
    except DaemonAbsent:
        return []
    except McpproxyError as error:
        return [_check("daemon", "fail", error.message, error.next_step)]
    return [_check("daemon", "ok", "it answers"), *found]


def _check(name: str, state: str, found: str, next_step: str = "") -> dict[str, Any]:
    return {"name": name, "state": state, "found": found, "next_step": next_step}


def _print(check: dict[str, Any]) -> None:
    from mcpproxy.core.text import escape_unsafe

    mark = f"{check['state']:<4}"
    if output.wants_colour():
        mark = click.style(mark, fg=_COLOURS[check["state"]])
    click.echo(f"{mark}  {escape_unsafe(check['name'])}: {escape_unsafe(check['found'])}")
    if check["next_step"]:
        click.echo(f"      -> {escape_unsafe(check['next_step'])}")
