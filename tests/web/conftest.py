"""A world with three servers, and the real web server in front of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpproxy.core.model import Transport, Upstream
from tests.web.daemon import Daemon
from tests.web.stubs import World


@pytest.fixture
def world() -> World:
    made = World()
    made.add_oauth("github-mcp")
    made.servers["files"] = Upstream("files", Transport.STDIO, command="mcp-files", args=("/x",))
    made.servers["held"] = Upstream("held", url="https://held.example/mcp", quarantined=True)
    return made


@pytest.fixture
def daemon(world: World, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(world, tmp_path / "data" / "mcpproxy.sock") as running:
        yield running
