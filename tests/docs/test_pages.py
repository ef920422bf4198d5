"""The pages hold together: links lead somewhere, nothing is orphaned, no machine is named."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import DOCS, ROOT, anchors, broken_links, files, inline, links, name

PAGES = files()

FOREIGN = re.compile(
    r"(?<![\w.~])/(?:work|root|home|Users|tmp|mnt|opt)/|\b(?:localdomain|noreply)\b", re.IGNORECASE
)
"""Paths and names that belong to somebody's machine."""

LONGEST_AGENTS = 80

OURS = re.compile(r"(?:[\w.-]+/)+[\w-]+\.(?:py|md)|(?:tests|docs)/[\w/-]+|pyproject\.toml")


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    page = "# One\n[a](missing.md) [b](index.md) [c](#one) [d](#two) `[e](code.md)`\n"
    assert broken_links(DOCS / "index.md", page) == ["missing.md", "#two"]
    assert broken_links(ROOT / "README.md", "[out](../elsewhere.md)") == ["../elsewhere.md"]


def test_anchors_are_those_that_readers_get() -> None:
    assert anchors("# A `b` c: D?\n```sh\n# no\n```\n## Two words\n") == {"a-b-c-d", "two-words"}


def test_every_page_is_reached_from_the_index() -> None:
    seen: set[Path] = set()
    ahead = [DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md" or not page.is_relative_to(DOCS):
            continue
        seen.add(page)
        found = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")))
        ahead += [(page.parent / link).resolve() for link in found if link and "://" not in link]
    assert set(DOCS.rglob("*.md")) - seen == set()


def missing_files(text: str) -> list[str]:
    """Files and folders of ours that are named in code and are not there. What the tests leave
    behind is there only once they have run.
    """
    named = [code for code in inline(text) if OURS.fullmatch(code) and not made(code)]
    places = (ROOT, ROOT / "src" / "mcpproxy")
    return [each for each in named if not any((place / each).exists() for place in places)]


def made(path: str) -> bool:
    return path.startswith("test-results/")


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    assert missing_files(path.read_text(encoding="utf-8")) == []


def test_a_file_that_does_not_exist_is_found() -> None:
    assert missing_files("`core/lost.py`, `core/model.py`, `tests/none`, `pyproject.toml`") == [
        "core/lost.py",
        "tests/none",
    ]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_no_page_names_somebodys_machine(path: Path) -> None:
    assert FOREIGN.findall(path.read_text(encoding="utf-8")) == []


def test_somebodys_machine_is_noticed() -> None:
    assert FOREIGN.search("see /home/anna/notes") is not None
    assert FOREIGN.search("in ~/.mcpproxy or https://example.com/home/page") is None


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_page_begins_with_its_one_title(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    fenceless = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^# ", fenceless, flags=re.MULTILINE)) == 1


def test_agents_get_a_page_that_fits_their_head() -> None:
    assert len((ROOT / "AGENTS.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_AGENTS
