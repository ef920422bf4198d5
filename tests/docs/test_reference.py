"""The reference pages say what the code says."""

import inspect
import re

import pytest

from docs.generate import MADE, PAGES, page
from mcpproxy import app
from mcpproxy.core.causes import CAUSES
from mcpproxy.gateway import limits
from mcpproxy.gateway.modes import builtin
from mcpproxy.gateway.wire import eras
from mcpproxy.observability import refresh_log, upstream_log
from mcpproxy.storage import engines, keys, ownership
from tests.docs.markdown import DOCS, rows


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_what_the_code_makes(path: str) -> None:
    assert (DOCS / path).read_text(encoding="utf-8") == page(path), "run `make docs`"


def test_a_generated_page_says_that_it_is_one() -> None:
    assert all(MADE in page(path) for path in PAGES)


def test_every_cause_is_on_its_page() -> None:
    told = {cells[0].strip("`") for cells in rows(page("reference/health-causes.md"), 6)}
    assert told == {cause.name for cause in CAUSES}


def test_the_log_messages_are_those_that_are_written() -> None:
    text = (DOCS / "reference/log-messages.md").read_text(encoding="utf-8")
    told = {cells[0].strip("`") for columns in (3, 4) for cells in rows(text, columns)}
    source = inspect.getsource(refresh_log)
    written = set(re.findall(r'\.(?:debug|info|warning|error)\(\s*"([^"]+)"', source))
    names = re.findall(r"\.(?:info|warning)\(\s*([A-Z_]+),", source)
    written |= {getattr(refresh_log, constant) for constant in names}
    assert told == written
    assert len(names) == 5


def test_the_files_of_the_data_directory_are_named() -> None:
    text = (DOCS / "reference/data-directory.md").read_text(encoding="utf-8")
    for name in (engines.VAULT, keys.KEY_FILE, ownership.LOCK_FILE):
        assert f"`{name}`" in text
    assert f"`{app.LOG_DIRECTORY}/main.log`" in text
    assert "mcpproxy.sock" in text
    assert upstream_log.log_path(DOCS, "name").name == "server-name.log"


def test_the_page_of_the_endpoint_names_its_tools_revisions_and_bounds() -> None:
    text = (DOCS / "reference/mcp-endpoint.md").read_text(encoding="utf-8")
    assert {cells[0].strip("`") for cells in rows(text, 2)} >= set(builtin.PERMIT_OF)
    assert all(version in text for version in eras.ALL_VERSIONS)
    assert f"{limits.DEFAULT_LIMITS.max_message >> 20} MiB" in text
    assert f"{limits.DEFAULT_LIMITS.reconnect_wait.total_seconds():g} s by a call" in text
