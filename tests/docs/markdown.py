"""The documentation as data: files, links, code and tables, as far as the tests ask for them."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
AT_THE_ROOT: Final = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "AGENTS.md")

_FENCE: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def files() -> Sequence[Path]:
    """Every page, sorted."""
    return sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in AT_THE_ROOT)])


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_code(text: str) -> str:
    return _INLINE.sub("", _FENCE.sub("", text))


def links(text: str) -> Iterator[str]:
    """Targets of links, code left out."""
    yield from _LINK.findall(without_code(text))


def anchors(text: str) -> set[str]:
    """The anchors that headings make."""
    found = (heading.replace("`", "").lower() for heading in _HEADING.findall(_FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in found}


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links of this page that lead nowhere."""
    broken = []
    for link in links(text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        inside = target.exists() and target.is_relative_to(ROOT)
        its_text = text if target == path else target.read_text() if target.is_file() else ""
        if not inside or (anchor and anchor not in anchors(its_text)):
            broken.append(link)
    return broken


def command_lines(text: str) -> Iterator[str]:
    """Every `mcpproxy …` and `make …` in code, fenced or inline, without the prompt."""
    shells = ("sh", "console", "ini")
    fenced = [body for kind, body in _FENCE.findall(text) if kind in shells]
    inline = _INLINE.findall(_FENCE.sub("", text))
    lines = [line.partition("  #")[0] for body in fenced for line in body.splitlines()]
    for line in [*lines, *inline]:
        words = re.sub(r"^\s*(?:\$ )?(?:ExecStart=)?(?:\S*/)?(?=mcpproxy )", "", line).strip()
        if words.startswith(("mcpproxy ", "make ")):
            yield words


def rows(text: str, columns: int) -> Iterator[Sequence[str]]:
    """The rows of all tables that have so many columns, without heads and rules."""
    table = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not line.startswith("|") or len(cells) != columns:
            table = False
        elif all(set(cell) <= set("-: ") and cell for cell in cells):
            table = True
        elif table:
            yield cells


def inline(text: str) -> Iterator[str]:
    """Code within lines."""
    yield from _INLINE.findall(_FENCE.sub("", text))
