"""The fixture, and the real daemon in front of it."""

import sys
from pathlib import Path
from typing import Any, Final

from tests.e2e.daemon import Daemon, connected
from tests.peers.process import Process, answers, free_port

NAME: Final = "fixture"


class FixtureServer(Process):
    """The fixture over HTTP as a server of an era ("both", "legacy", "modern")."""

    def __init__(self, directory: Path, era: str = "both") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        module = "tests.conformance.fixture.server"
        super().__init__(
            f"fixture-{era}",
            [sys.executable, "-m", module, f"--port={self.port}", f"--era={era}"],
            log_dir=directory,
            ready=lambda: answers(f"http://127.0.0.1:{self.port}/no-such-page"),
        )


def stdio_server() -> dict[str, Any]:
    """The fixture over standard input and output, as an entry of the configuration."""
    return {
        "name": NAME,
        "command": sys.executable,
        "args": ["-m", "tests.conformance.fixture.server", "--stdio"],
        "env": {"PYTHONPATH": str(Path(__file__).parents[2])},
    }


def proxy(directory: Path, *servers: dict[str, Any]) -> Daemon:
    """The daemon in front of these. The suites cannot send a key, so that /mcp asks for none."""
    return Daemon(directory, servers=servers, require_mcp_auth=False, routing_mode="direct")


def endpoint(daemon: Daemon, name: str = NAME) -> str:
    """Where one server is found through the daemon, once it is connected."""
    daemon.until(name, connected, deadline=30)
    return f"{daemon.origin}/mcp/s/{name}"
