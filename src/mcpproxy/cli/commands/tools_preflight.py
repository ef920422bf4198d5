"""`mcpproxy tools preflight NAME…`: may a script go ahead with these servers?

Exit code 0: all are ready; 10: wait, it comes by itself; 11: a person must act; 12: no such server.
The worst one counts.
"""

import click

from mcpproxy.cli import output
from mcpproxy.cli.command import define
from mcpproxy.cli.context import find_globals
from mcpproxy.cli.servers import read_servers
from mcpproxy.core.errors import LoginRequired, NotReady, UnknownServer

_PERSON = frozenset({"login", "enable", "approve", "set_secret", "configure"})


@define("preflight", "Check that servers are ready: exit 0, or 10, 11, 12 and the reason.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def command(names: tuple[str, ...]) -> int:
    options = find_globals()
    servers = {each["name"]: each for each in read_servers(options)}
    verdicts = [
        (name, *_verdict(servers.get(name.partition("__")[0]))) for name in dict.fromkeys(names)
    ]
    if options.format == "table":
        rows = [(name, str(code), reason) for name, code, reason in verdicts]
        click.echo(output.table(("NAME", "CODE", "REASON"), rows))
    else:
        fields = ("name", "exit_code", "reason")
        output.show([dict(zip(fields, each, strict=True)) for each in verdicts], options.format)
    return max(code for _, code, _ in verdicts)


def _verdict(server: dict[str, object] | None) -> tuple[int, str]:
    if server is None:
        return UnknownServer.exit_code, "There is no server of that name."
    health = server["health"]
    assert isinstance(health, dict)  # noqa: S101 - the daemon's own answer
    reason = f"{health['level']} ({health['line']})"
    if server["status"] == "connected" and health["level"] != "unhealthy":
        return 0, reason
    blocked = health["action"] in _PERSON
    return (LoginRequired if blocked else NotReady).exit_code, reason
