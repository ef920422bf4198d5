"""The root of the command line: the table of commands, global options, errors into exit codes.

Law: a command is one line in COMMANDS and one file; it is imported when it is run, not before.
"""

import sys
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from mcpproxy.cli import output
from mcpproxy.cli.context import FORMATS, LEVELS, Globals
from mcpproxy.core.errors import McpproxyError, UsageError

COMMANDS: Final = {
    "serve": "serve",
    "stdio": "stdio",
    "auth login": "auth_login",
    "auth status": "auth_status",
    "auth logout": "auth_logout",
    "upstream list": "upstream_list",
    "upstream add": "upstream_add",
    "upstream remove": "upstream_remove",
    "upstream enable": "upstream_enable",
    "upstream disable": "upstream_disable",
    "upstream approve": "upstream_approve",
    "upstream quarantine": "upstream_quarantine",
    "upstream restart": "upstream_restart",
    "upstream logs": "upstream_logs",
    "upstream inspect": "upstream_inspect",
    "explain": "explain",
    "status": "status",
    "doctor": "doctor",
    "tools list": "tools_list",
    "tools search": "tools_search",
    "tools call": "tools_call",
    "tools enable": "tools_enable",
    "tools disable": "tools_disable",
    "tools approve": "tools_approve",
    "tools preflight": "tools_preflight",
    "activity list": "activity_list",
    "activity watch": "activity_watch",
    "activity export": "activity_export",
    "demo": "demo",
    "completion": "completion",
    "version": "version",
}
GROUPS: Final = {
    "auth": "Log in to servers, and see how the logins are.",
    "upstream": "Manage the MCP servers behind the proxy.",
    "tools": "Find, call and check the tools of all servers.",
    "activity": "See who called what, and what came of it.",
}
INTERRUPTED: Final = 130


def global_options() -> list[click.Option]:
    """Options that every command takes; the names keep out of the commands' way."""
    return [
        click.Option(["-c", "--config", "global_config"], metavar="FILE", help="Configuration."),
        click.Option(
            ["-d", "--data-dir", "global_data_dir"], metavar="DIR", help="Data directory."
        ),
        click.Option(
            ["--log-level", "global_log_level"], type=click.Choice(LEVELS), help="How much to log."
        ),
        click.Option(
            ["-o", "--output", "global_output"], type=click.Choice(FORMATS), help="How to print."
        ),
    ]


def take_globals(context: click.Context) -> None:
    """Move the global options of this level into the Globals of the run."""
    found = {
        name: context.params.pop(name)
        for name in list(context.params)
        if name.startswith("global_")
    }
    root = context.find_root().obj
    assert isinstance(root, Globals)  # noqa: S101 - `run` sets it
    root.take(**{name.removeprefix("global_"): value for name, value in found.items()})


class LazyGroup(click.Group):
    """A group whose commands are found in COMMANDS below `prefix`."""

    def __init__(self, name: str, prefix: str, text: str) -> None:
        super().__init__(name, help=text, params=list(global_options()))
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = [path.removeprefix(self._prefix) for path in COMMANDS if self._is_below(path)]
        return list(dict.fromkeys(name.split(" ")[0] for name in names))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        path = self._prefix + cmd_name
        if path in GROUPS:
            return LazyGroup(cmd_name, f"{path} ", GROUPS[path])
        if path not in COMMANDS:
            return None
        module = import_module(f"mcpproxy.cli.commands.{COMMANDS[path]}")
        command: click.Command = module.command
        if not any(option.name == "global_output" for option in command.params):
            command.params.extend(global_options())
        return command

    def invoke(self, ctx: click.Context) -> Any:
        take_globals(ctx)
        return super().invoke(ctx)

    def _is_below(self, path: str) -> bool:
        return path.startswith(self._prefix)


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code."""
    output.open_closed_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    given = Globals()
    root = LazyGroup("mcpproxy", "", "One MCP endpoint in front of all your MCP servers.")
    try:
        code = root.main(arguments, prog_name="mcpproxy", standalone_mode=False, obj=given)
        sys.stdout.flush()
    except McpproxyError as error:
        output.fail(error, _format(given, arguments))
        code = error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        if _format(given, arguments) == "json":
            output.fail(UsageError("A command is missing.", next_step="See --help."), "json")
        else:
            error.show()
        code = UsageError.exit_code
    except click.ClickException as error:
        code = _usage(error, _format(given, arguments))
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        output.discard()
        code = 0
    except OSError as error:
        if error.errno not in output.UNWRITABLE or error.filename is not None:
            raise
        output.discard()
        unwritten = output.Unwritten(error)
        output.fail(unwritten, "table")
        code = unwritten.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.ClickException, kind: str) -> int:
    if kind == "json":
        output.fail(UsageError(error.format_message(), next_step="See --help."), kind)
    else:
        error.show()
    return UsageError.exit_code


def _format(given: Globals, arguments: list[str]) -> str:
    """The output format, also when the command line could not be read to its end."""
    if given.output is None:
        for at, word in enumerate(arguments):
            if word in ("-ojson", "--output=json") or (
                word in ("-o", "--output") and arguments[at + 1 : at + 2] == ["json"]
            ):
                return "json"
    return given.format
