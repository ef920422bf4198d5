"""How results look: a table for people, JSON and YAML for programs.

Law: text from servers reaches a terminal escaped; JSON and YAML carry it as data, with every
control character escaped by their own rules.
"""

import errno
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.text import escape_unsafe

_COLOURS: Final = {"healthy": "green", "degraded": "yellow", "unhealthy": "red"}
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+@-]*( [A-Za-z0-9_./+@()-]+)*")
_RESERVED: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
"""What standard output may answer, where it is a file."""


class Unwritten(McpproxyError):
    """What a command had to say did not get out."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"The output cannot be written: {error.strerror}",
            next_step="Free some space, or write it somewhere else.",
        )


def open_closed_streams() -> None:
    """A program that is started without standard streams gets ones that lead nowhere: else the
    next file or socket would be taken for one.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def discard() -> None:
    """Let the rest of the output go: Python would complain while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def show(data: Any, kind: str) -> None:
    """`data` as JSON or YAML."""
    click.echo(as_yaml(data) if kind == "yaml" else as_json(data))


def as_json(data: Any) -> str:
    return escape_data(json.dumps(data, indent=2, ensure_ascii=False))


def escape_data(text: str) -> str:
    """What JSON may carry as it is but a terminal must not see, as `\\uNNNN`."""
    return "\n".join(
        "".join(char if escape_unsafe(char) == char else json.dumps(char)[1:-1] for char in line)
        for line in text.split("\n")
    )


def as_yaml(data: Any) -> str:
    """Block YAML; every string that might be read as something else is quoted."""
    return "\n".join(_yaml_lines(data)) or "[]"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, at_least: Sequence[int] = ()
) -> str:
    """Columns as wide as their widest entry and a space; the last one is not padded.

    `at_least` are the least widths of the first columns.
    """
    safe = [head, *([escape_unsafe(cell) for cell in row] for row in rows)]
    least = [*at_least, *([0] * len(head))]
    widths = [max(least[at], *(len(row[at]) for row in safe)) for at in range(len(head) - 1)]
    return "\n".join(
        "".join(f"{cell:<{width + 1}}" for cell, width in zip(row, widths, strict=False)) + row[-1]
        for row in safe
    )


def colour_levels(text: str) -> str:
    """Health levels in colour, when and only when standard output is a terminal."""
    if not wants_colour():
        return text
    pattern = re.compile(r"(?<=\s)(healthy|degraded|unhealthy)(?= \()")
    return pattern.sub(lambda found: click.style(found[0], fg=_COLOURS[found[0]]), text)


def wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def fail(error: McpproxyError, kind: str) -> None:
    """An error: for programs on standard output as JSON, for people on standard error."""
    if kind == "json":
        fields = {**error.as_dict(), "exit_code": error.exit_code}
        click.echo(as_json({"success": False, "error": fields}))
        return
    click.echo(f"Error: {error.message}", err=True)
    for problem in _problems(error):
        click.echo(f"  - {escape_unsafe(problem)}", err=True)
    if error.next_step:
        click.echo(f"Next: {error.next_step}", err=True)


def _problems(error: McpproxyError) -> Sequence[str]:
    """Each on a line of its own, unless the only one stands in the message already."""
    found = error.as_dict().get("problems", ())
    problems = [str(each) for each in found] if isinstance(found, list | tuple) else []
    return [] if len(problems) == 1 and problems[0] in error.message else problems


def _yaml_lines(data: Any) -> Sequence[str]:
    if isinstance(data, Mapping) and data:
        lines: list[str] = []
        for key, value in data.items():
            lines += _yaml_entry(f"{_yaml_scalar(str(key))}:", value)
        return lines
    if isinstance(data, list | tuple) and data:
        lines = []
        for value in data:
            first, *rest = _yaml_lines(value)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    return [_yaml_scalar(data)]


def _yaml_entry(key: str, value: Any) -> Sequence[str]:
    if isinstance(value, Mapping | list | tuple) and value:
        indent = "  " if isinstance(value, Mapping) else ""
        return [key, *(f"{indent}{line}" for line in _yaml_lines(value))]
    return [f"{key} {_yaml_scalar(value)}"]


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
        return value if plain else escape_data(json.dumps(value, ensure_ascii=False))
    if isinstance(value, Mapping):
        return "{}"
    return "[]" if isinstance(value, list | tuple) else json.dumps(value)
