"""`mcpproxy upstream restart NAME`: connect anew, at once."""

from mcpproxy.cli.client import segment
from mcpproxy.cli.command import NAME, define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.editing import report


@define("restart", "Connect a server anew, at once.")
@NAME
def command(name: str) -> None:
    options = find_globals()
    report(options, options.client().post(f"/api/v1/servers/{segment(name)}/restart"))
