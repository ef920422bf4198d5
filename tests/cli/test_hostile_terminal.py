"""Output that goes nowhere and input without sense end in one line, never in a traceback."""

import json
import subprocess

import pytest

from tests.cli.conftest import Program
from tests.web.daemon import Daemon


@pytest.mark.parametrize("words", ["version", "upstream list", "upstream list -o json", "--help"])
def test_output_that_cannot_be_written_is_an_error_in_one_line(
    program: Program, words: str
) -> None:
    program.configure('{"mcpServers": []}')
    done = redirected(program, f"{words} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "Error: The output cannot be written: No space left on device",
        "Next: Free some space, or write it somewhere else.",
    ]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(program: Program, closed: str) -> None:
    done = redirected(program, f"version {closed}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert redirected(program, f"upstream inspect nobody {closed}").returncode == 12


def redirected(program: Program, words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{' '.join(program.command())} {words}"],
        capture_output=True, text=True, env=program.environment(), check=False, timeout=30,
    )  # fmt: skip


def test_arguments_nested_without_end_are_refused(program: Program) -> None:
    deep = "[" * 50_000
    ran = program.run("tools", "call", "x:y", deep)
    assert (ran.code, ran.out) == (2, "")
    assert "nested" in ran.err
    piped = program.run("-o", "json", "tools", "call", "x:y", "-", stdin=deep)
    assert (piped.code, json.loads(piped.out)["error"]["code"]) == (2, "usage")


def test_words_that_are_no_utf_8_are_searched_for_all_the_same(
    daemon: Daemon, program: Program
) -> None:
    assert redirected(program, "tools search $'\\xff'").returncode == 0


@pytest.mark.parametrize("words", [("",), (" ",), ("", " ")])
def test_a_search_for_nothing_is_refused(program: Program, words: tuple[str, ...]) -> None:
    ran = program.run("tools", "search", *words)
    assert (ran.code, ran.out) == (2, "")
    assert "words" in ran.err
    as_json = program.run("tools", "search", *words, "-o", "json")
    assert json.loads(as_json.out)["error"]["exit_code"] == 2
