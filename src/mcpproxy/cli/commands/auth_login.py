"""`mcpproxy auth login NAME`: log in, wait for the outcome, end with it."""

from datetime import timedelta
from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals, note, require
from mcpproxy.cli.login import Browser, log_in
from mcpproxy.cli.servers import read_servers
from mcpproxy.core.errors import McpproxyError

MAX_MINUTES = 10
"""A pending login lives as long; waiting longer could only end in its time-out."""


@define("login", "Log in to a server: opens the browser, prints the URL, waits for the outcome.")
@click.argument("name", required=False)
@click.option("-s", "--server", metavar="NAME", help="The same as NAME.")
@click.option("--all", "every", is_flag=True, help="Log in wherever a login is needed.")
@click.option("--no-browser", is_flag=True, help="Open none; the redirect URL can be pasted back.")
@click.option("--device", is_flag=True, help="Log in on another device, by a code typed in there.")
@click.option(
    "--timeout",
    default=float(MAX_MINUTES * 60),
    type=click.FloatRange(1, MAX_MINUTES * 60),
    metavar="SECONDS",
    help="How long to wait.",
)
def command(
    name: str | None,
    server: str | None,
    every: bool,
    no_browser: bool,
    device: bool,
    timeout: float,
) -> int:
    options = find_globals()
    browser = Browser.PASTE if no_browser else Browser.OPEN
    if device:
        browser = Browser.ELSEWHERE
    wait = timedelta(seconds=timeout)
    client = options.client()
    if not every:
        one = require(name or server, "The server's name")
        done = log_in(options, client, one, browser, wait)
        if options.format != "table":
            output.show(done, options.format)
        return 0
    needing = [each["name"] for each in read_servers(options) if _needs_login(each)]
    if not needing:
        note("No server needs a login.")
    outcomes: list[dict[str, Any]] = []
    failed = 0
    for each in needing:
        try:
            outcomes.append(log_in(options, client, each, browser, wait))
        except McpproxyError as error:
            failed += 1
            if options.format == "table":
                output.fail(error, options.format)
            outcomes.append({"server": each, "outcome": "failed", **error.as_dict()})
    if options.format != "table":
        output.show(outcomes, options.format)
    return 1 if failed else 0


def _needs_login(server: dict[str, dict[str, str]]) -> bool:
    return server["health"]["action"] == "login"
