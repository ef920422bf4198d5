"""The Inspector's command line, the way many people look at a server, against mcpproxy."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suites import PACKAGES
from tests.conformance.through import NAME, FixtureServer, endpoint, proxy
from tests.e2e.daemon import API_KEY, Daemon
from tests.peers.process import node

pytestmark = pytest.mark.timeout(180)

PROGRAM = PACKAGES / "inspector" / "clients" / "launcher" / "build" / "index.js"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    where = tmp_path_factory.mktemp("inspected")
    with FixtureServer(where) as fixture, proxy(where, {"name": NAME, "url": fixture.url}) as made:
        made.write_config(require_mcp_auth=True)
        made.restart()
        yield made


def inspect(url: str, home: Path, *arguments: str) -> Any:
    """What the Inspector prints for a method."""
    done = subprocess.run(
        [
            *(node(), str(PROGRAM), "--cli", url, "--transport", "http"),
            *("--header", f"X-API-Key: {API_KEY}", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("place", "prefix"), [(f"/mcp/s/{NAME}", ""), ("/mcp", f"{NAME}__")], ids=["one", "all"]
)
def test_the_inspector_lists_calls_and_reads(
    place: str, prefix: str, daemon: Daemon, tmp_path: Path
) -> None:
    endpoint(daemon)
    url = f"{daemon.origin}{place}"
    listed = inspect(url, tmp_path, "--method", "tools/list")
    assert f"{prefix}test_simple_text" in {tool["name"] for tool in listed["tools"]}
    tool = f"{prefix}test_simple_text"
    called = inspect(url, tmp_path, "--method", "tools/call", "--tool-name", tool)
    assert called["content"][0]["text"] == "This is a simple text response for testing."
    resources = inspect(url, tmp_path, "--method", "resources/list")["resources"]
    uri = next(each["uri"] for each in resources if "static-text" in each["uri"])
    read = inspect(url, tmp_path, "--method", "resources/read", "--uri", uri)
    assert read["contents"][0]["text"] == "This is the content of the static text resource."
    prompts = inspect(url, tmp_path, "--method", "prompts/list")["prompts"]
    name = next(each["name"] for each in prompts if "simple_prompt" in each["name"])
    got = inspect(url, tmp_path, "--method", "prompts/get", "--prompt-name", name)
    assert got["messages"][0]["content"]["text"] == "This is a simple prompt for testing."
