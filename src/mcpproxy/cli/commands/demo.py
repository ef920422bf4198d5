"""`mcpproxy demo`: a login, refreshes, an outage, a kill -9 and a restart, told in the terminal."""

import click

from mcpproxy.cli.command import define
from mcpproxy.core.errors import McpproxyError


@define("demo", "Show on this machine alone what a login survives; takes two and a half minutes.")
@click.option("--browser", is_flag=True, help="Click through the login yourself.")
def command(browser: bool) -> None:
    from mcpproxy.demo.stage import StageFailure
    from mcpproxy.demo.story import Clicker, tell_story

    try:
        tell_story(Clicker.PERSON if browser else Clicker.DEMO, click.echo)
    except StageFailure as error:
        raise McpproxyError(
            f"The demo went wrong: {error}", next_step="Please report it with what stands above."
        ) from error
