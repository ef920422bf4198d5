"""Tests that a page names, and whether they exist."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

from tests.docs.markdown import ROOT

NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def names_in(path: Path) -> frozenset[str]:
    if not path.exists():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


def missing(text: str) -> list[str]:
    """Tests that are named and do not exist."""
    return [
        f"{file}::{test}" for file, test in NAMED.findall(text) if test not in names_in(ROOT / file)
    ]
