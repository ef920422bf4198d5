"""The real program, and a daemon: the real web application with stubs for its ports."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.web.daemon import Daemon
from tests.web.stubs import World

DAEMON_DEADLINE = 30


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Program:
    """`mcpproxy` in a process of its own, on a data dir of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MCPPROXY_", "NO_COLOR"))}
        return {**kept, "MCPPROXY_DATA_DIR": str(self.data_dir), "TZ": "UTC", **more}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mcpproxy", *arguments]

    def run(self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(**(env or {})),
            timeout=DAEMON_DEADLINE,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def configure(self, text: str) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.data_dir / "mcp_config.json").write_text(text)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "data")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def daemon(world: World, program: Program) -> Iterator[Daemon]:
    with Daemon(world, program.data_dir / "mcpproxy.sock") as running:
        yield running
