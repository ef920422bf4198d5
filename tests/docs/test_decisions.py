"""The decisions are numbered, whole, listed, and their table of dependencies is the real one."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.markdown import DOCS, ROOT, name, rows

RECORDS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
PARTS = ("**Context.**", "**Decision.**", "**Consequences.**", "**Evidence.**")


@pytest.mark.parametrize("path", RECORDS, ids=name)
def test_a_decision_has_all_its_parts_in_order(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [text.find(part) for part in PARTS]
    assert -1 not in found
    assert found == sorted(found)
    assert text.startswith(f"# {path.name[:4]} ")


def test_numbers_are_without_gaps_and_all_are_listed() -> None:
    assert [path.name[:4] for path in RECORDS] == [f"{n:04}" for n in range(1, len(RECORDS) + 1)]
    index = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    assert [path.name for path in RECORDS if f"({path.name})" not in index] == []


def test_the_dependencies_are_those_of_the_project() -> None:
    text = (DOCS / "decisions" / "0006-dependencies.md").read_text(encoding="utf-8")
    told = {cells[0]: (cells[1], cells[2]) for cells in rows(text, 5)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[\[<>=;]", each)[0] for each in project["dependencies"]}
    assert set(told) == wanted
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    locked = {each["name"]: each for each in lock}
    for package, (version, date) in told.items():
        source = locked[package].get("sdist") or locked[package]["wheels"][0]
        assert (package, version, date) == (
            package,
            locked[package]["version"],
            source["upload-time"][:10],
        )


def floors() -> list[str]:
    """The layers of the import contract, from the top."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["id"] == "floors")
    return [layer.strip("()") for layer in layers]


@pytest.mark.parametrize("page", ["AGENTS.md", "docs/explanation/architecture.md"])
def test_the_floors_are_those_that_are_enforced(page: str) -> None:
    assert " → ".join(floors()) in (ROOT / page).read_text(encoding="utf-8")


def test_every_module_stands_on_a_floor() -> None:
    source = ROOT / "src" / "mcpproxy"
    modules = {path.stem for path in source.iterdir() if path.suffix == ".py" or path.is_dir()}
    housed = {module for floor in floors() for module in floor.split(" | ")}
    assert modules - {"__init__", "__main__", "__pycache__"} == housed
