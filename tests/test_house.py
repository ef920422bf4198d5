"""The rules of the house that no other tool checks. Each can fail: its example is planted below."""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src" / "mcpproxy"
MAX_FILE: Final = 400
MAX_FUNCTION: Final = 60

MAY_PRINT: Final = ("cli", "demo", "config/reference.py")
"""Rooms and files that talk to a terminal."""

MAY_REVEAL: Final[Mapping[str, str]] = {
    "storage/codec.py": "a grant becomes the plain text that is sealed next",
    "storage/memory.py": "looks a pending login up by its state",
    "storage/sqlite.py": "the digest by which a pending login is found",
    "oauth/answer.py": "a stored answer is unpacked to be read",
    "oauth/assertion.py": "the key that signs who our client is",
    "oauth/authorization.py": "state and verifier of the authorization request",
    "oauth/client.py": "the outbound proxy's URL may hold a password",
    "oauth/device.py": "the device code that the token endpoint is asked about",
    "oauth/management.py": "the token with which a client manages its registration",
    "oauth/revocation.py": "the token that is given back",
    "oauth/token.py": "the form that is sent to the token endpoint",
    "observability/known_secrets.py": "the lines of a key, to be recognised one by one",
    "gateway/bearer.py": "the Authorization header and configured headers",
    "gateway/scrub.py": "takes the secrets of an upstream out of what is shown of it",
    "gateway/transports/outbound.py": "the outbound proxy's URL may hold a password",
    "gateway/transports/stdio.py": "the environment of a child process",
    "cli/commands/serve.py": "the API key, for the terminal of the person who starts it",
    "cli/offline.py": "the database's URL may hold a password",
    "app.py": "the database's URL may hold a password",
    "rooms.py": "the API key, from which the key is made that signs session ids",
}
"""Who looks into a Secret, and what for. Everybody else has no reason to."""

NO_CLOCK: Final = ("core", "custody")
CLOCKS: Final = frozenset(
    f"{module}.{call}"
    for module, calls in {
        "datetime": ("now", "utcnow", "today"),
        "date": ("today",),
        "time": ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "clock_gettime"),
        "uuid": ("uuid1", "uuid4"),
        "os": ("urandom",),
    }.items()
    for call in calls
)
CHANCE: Final = frozenset({"random", "secrets", "time", "uuid"})


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield path


def in_source(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def is_below(place: str, rooms: tuple[str, ...]) -> bool:
    return any(place == room or place.startswith(f"{room}/") for room in rooms)


# --- the checks, each over one module's text ------------------------------------------------


def too_long(text: str) -> list[str]:
    lines = len(text.splitlines())
    return [f"{lines} lines"] if lines > MAX_FILE else []


def long_functions(text: str) -> list[str]:
    return [
        f"{node.name} has {length} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION
    ]


def missing_docstring(text: str) -> list[str]:
    module = ast.parse(text)
    return [] if ast.get_docstring(module) or not text.strip() else ["no docstring"]


def prints(text: str) -> list[str]:
    return [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def reveals(text: str) -> list[str]:
    return [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    ]


def reads_a_clock(text: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if f"{owner}.{node.attr}" in CLOCKS:
                found.append(f"line {node.lineno}: {owner}.{node.attr}")
        elif isinstance(node, ast.Import):
            names = {each.name.partition(".")[0] for each in node.names}
            found += [f"line {node.lineno}: import {name}" for name in sorted(names & CHANCE)]
        elif isinstance(node, ast.ImportFrom) and node.module in CHANCE:
            found.append(f"line {node.lineno}: from {node.module}")
    return found


# --- the house ------------------------------------------------------------------------------


def complaints(check: Callable[[str], list[str]], paths: Iterator[Path]) -> dict[str, list[str]]:
    checked = {path: check(path.read_text(encoding="utf-8")) for path in paths}
    assert checked, "there is nothing to check"
    return {str(path.relative_to(ROOT)): found for path, found in checked.items() if found}


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    assert complaints(too_long, python_files("src", "tests", "docs")) == {}


def test_every_function_fits_a_screen() -> None:
    assert complaints(long_functions, python_files("src")) == {}


def test_every_module_says_what_it_is_for() -> None:
    assert complaints(missing_docstring, python_files("src")) == {}


def test_nobody_prints_but_those_who_talk_to_a_terminal() -> None:
    quiet = (path for path in python_files("src") if not is_below(in_source(path), MAY_PRINT))
    assert complaints(prints, quiet) == {}


def test_secrets_are_revealed_only_where_it_is_listed_and_why() -> None:
    revealing = complaints(reveals, python_files("src"))
    assert {in_source(ROOT / path) for path in revealing} == set(MAY_REVEAL)


@pytest.mark.parametrize("room", NO_CLOCK)
def test_core_and_custody_read_no_clock_and_draw_no_chance(room: str) -> None:
    assert complaints(reads_a_clock, python_files(f"src/mcpproxy/{room}")) == {}


# --- and that each check can fail -------------------------------------------------------------

PLANTED: Final = {
    too_long: '"""Long."""\n' + "x = 1\n" * MAX_FILE,
    long_functions: "async def wide() -> None:\n" + "    x = 1\n" * MAX_FUNCTION,
    missing_docstring: "x = 1\n",
    prints: "def tell() -> None:\n    print('here')\n",
    reveals: "def leak(secret):\n    return secret.reveal\n",
    reads_a_clock: "import datetime\nnow = datetime.datetime.now()\n",
}


@pytest.mark.parametrize("check", PLANTED, ids=lambda check: check.__name__)
def test_each_check_finds_what_is_planted(check: Callable[[str], list[str]]) -> None:
    assert len(check(PLANTED[check])) == 1
    assert check('"""Nothing is wrong here."""\n\n\ndef fine() -> int:\n    return 1\n') == []


@pytest.mark.parametrize(
    "text",
    [
        "import random\n",
        "from time import monotonic\n",
        "import uuid\n",
        "from datetime import datetime\nat = datetime.utcnow()\n",
        "import os\nsalt = os.urandom(8)\n",
    ],
)
def test_every_way_to_a_clock_or_to_chance_is_found(text: str) -> None:
    assert len(reads_a_clock(text)) == 1
