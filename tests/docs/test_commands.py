"""What the pages tell people to type exists: commands, their options, make targets."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest

from mcpproxy.cli.program import COMMANDS, GROUPS, global_options
from tests.docs.markdown import ROOT, command_lines, files, name

PAGES = files()
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
ENDS = {"|", "2>&1", "&&", ";", "&", "--"}


def options_of(params: list[click.Option]) -> dict[str, bool]:
    """Each spelling, and whether it takes a value."""
    return {
        spelling: not each.is_flag
        for each in params
        for spelling in (*each.opts, *each.secondary_opts)
    }


GLOBAL = {**options_of(global_options()), "--help": False}


def complaint(line: str) -> str | None:
    """What is wrong with a line to type; None when it would be understood."""
    words = [word for word in shlex.split(line, comments=True) if word]
    if words[0] == "make":
        wanted = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        unknown = [word for word in wanted if word not in TARGETS and word not in ENDS]
        return f"no target {unknown[0]}" if unknown else None
    words, taken = _without_options(words[1:], GLOBAL)
    if not words or words[0] in ("COMMAND", "…"):
        return None
    path = words[0]
    if path in GROUPS and len(words) > 1:
        path = f"{words[0]} {words[1]}"
    if path in GROUPS:
        return None
    if path not in COMMANDS:
        return f"no command {path}"
    module = import_module(f"mcpproxy.cli.commands.{COMMANDS[path]}")
    own = options_of([each for each in module.command.params if isinstance(each, click.Option)])
    unknown_options = [each for each in taken if each not in {**own, **GLOBAL}]
    return f"{path} has no option {unknown_options[0]}" if unknown_options else None


def _without_options(words: list[str], valued: dict[str, bool]) -> tuple[list[str], list[str]]:
    """Words that are no options (nor their values), up to a pipe or `--`; and the options."""
    plain: list[str] = []
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in ENDS:
            break
        if not word.startswith("-"):
            plain.append(word)
            continue
        spelling = word.partition("=")[0]
        options.append(spelling)
        if valued.get(spelling) and "=" not in word:
            next(rest, None)
    return plain, options


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_everything_to_type_exists(path: Path) -> None:
    lines = command_lines(path.read_text(encoding="utf-8"))
    found = [(line, said) for line in lines if (said := complaint(line))]
    assert found == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert complaint("mcpproxy connect claude") == "no command connect"
    assert complaint("mcpproxy auth forget x") == "no command auth forget"
    assert complaint("mcpproxy serve --fast") == "serve has no option --fast"
    assert complaint("make coffee") == "no target coffee"
    assert complaint("mcpproxy -d DIR serve --log-level=debug 2>&1 | grep -i oauth") is None


def test_commands_are_seen_in_fences_and_in_line() -> None:
    page = (
        "Use `mcpproxy status`.\n```console\n$ ./mcpproxy upstream list  # all\n```\n`make docs`\n"
    )
    assert list(command_lines(page)) == ["mcpproxy upstream list", "mcpproxy status", "make docs"]


def test_the_readme_tells_how_to_test_and_offers_the_demo_first() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in readme
    typed = list(command_lines(readme))
    assert typed.index("make demo") == 0
    assert "mcpproxy demo" in typed
