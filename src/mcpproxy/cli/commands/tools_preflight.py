"""`mcpproxy tools preflight NAME…`: may a script go ahead with these servers and tools?

Exit code 0: all are ready; 10: wait, it comes by itself; 11: a person must act; 12: no such name.
The worst one counts.
"""

from typing import Any

import click

from mcpproxy.cli import output
from mcpproxy.cli.client import DaemonAbsent
from mcpproxy.cli.command import define
from mcpproxy.cli.complete import names as complete_names
from mcpproxy.cli.complete import profiles
from mcpproxy.cli.context import Globals, find_globals
from mcpproxy.core.errors import LoginRequired, NotReady, UnknownServer, UsageError

_PERSON = frozenset({"login", "enable", "approve", "set_secret", "configure"})


@define(
    "preflight", "Check that servers and tools are ready: exit 0, or 10, 11, 12 and the reason."
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option(
    "--profile", metavar="NAME", shell_complete=profiles, help="All of this profile, or within it."
)
def command(names: tuple[str, ...], profile: str | None) -> int:
    options = find_globals()
    if not names and profile is None:
        raise UsageError(
            "Nothing is named.", next_step="Name servers, tools (SERVER:TOOL) or a --profile."
        )
    verdicts = _verdicts(options, names, profile)
    if options.format == "table":
        rows = [(each["name"], str(each["exit_code"]), each["reason"]) for each in verdicts]
        click.echo(output.table(("NAME", "CODE", "REASON"), rows))
    else:
        output.show(verdicts, options.format)
    return max((each["exit_code"] for each in verdicts), default=0)


def _verdicts(
    options: Globals, names: tuple[str, ...], profile: str | None
) -> list[dict[str, Any]]:
    asked = {"names": list(names), **({"profile": profile} if profile else {})}
    try:
        found: list[dict[str, Any]] = options.client().post("/api/v1/preflight", asked)["verdicts"]
    except DaemonAbsent:
        if profile is not None:
            raise
        from mcpproxy.cli.offline import servers

        known = {each["name"]: each for each in servers(options)}
        found = [_without_daemon(name, known) for name in dict.fromkeys(names)]
    return found


def _without_daemon(name: str, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Nothing is ready; but what a person must do first can be told."""
    server = name.partition(":")[0]
    server = server if server in known else server.partition("__")[0]
    tool = name[len(server) :].lstrip(":_") or None
    code, reason, action = UnknownServer.exit_code, "there is no server of that name", ""
    if server in known:
        health = known[server]["health"]
        action = health["action"]
        code = (LoginRequired if action in _PERSON else NotReady).exit_code
        reason = f"{health['level']} ({health['line']})"
    found = {"name": name, "server": server, "tool": tool}
    return {**found, "exit_code": code, "reason": reason, "action": action}
