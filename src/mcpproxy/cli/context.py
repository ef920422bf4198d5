"""What every command knows: the global options, where things are, and how to talk to the daemon.

Law: global options mean the same before and after the command's name; the later one wins.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from mcpproxy.cli.client import Client
from mcpproxy.config.locate import Flags, Reach, reach
from mcpproxy.core.errors import UsageError

LEVELS = ("trace", "debug", "info", "warn", "error")
FORMATS = ("table", "json", "yaml")

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Globals:
    """The global options; None where nothing was said."""

    config: str | None = None
    data_dir: str | None = None
    log_level: str | None = None
    output: str | None = None
    _reach: Reach | None = field(default=None, repr=False)

    def take(self, **given: str | None) -> None:
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)

    @property
    def format(self) -> str:
        """table, json or yaml."""
        if self.output is not None:
            return self.output
        wanted = os.environ.get("MCPPROXY_OUTPUT", "")
        return wanted if wanted in FORMATS else "table"

    @property
    def flags(self) -> Flags:
        return Flags(config=self.config, data_dir=self.data_dir, log_level=self.log_level)

    def reach(self) -> Reach:
        """Where the daemon is, as far as flags, environment and file say."""
        if self._reach is None:
            self._reach = reach(self.flags, os.environ)
        return self._reach

    def client(self) -> Client:
        return Client(self.reach())


def find_globals() -> Globals:
    """The global options of the command that runs."""
    found = click.get_current_context().find_root().obj
    assert isinstance(found, Globals)  # noqa: S101 - set by the root command
    return found


def note(text: str) -> None:
    """A remark for the person, beside what the command prints."""
    click.echo(text, err=True)


def require(value: str | None, what: str) -> str:
    """A value that may be given in two ways. Raises UsageError when it is in neither."""
    if not value:
        raise UsageError(f"{what} is missing.", next_step="See --help.")
    return value
