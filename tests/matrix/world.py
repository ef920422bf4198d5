"""The world of the matrix: all servers, the daemon in front of them, and a client's run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.daemon import API_KEY, PROGRAM, Daemon, connected
from tests.matrix.cells import AGGREGATE, ENDS, End, not_found, tried
from tests.peers.process import ROOT, Process, answers, free_port, node

HERE: Final = ROOT / "tests" / "matrix"
PYTHON_1: Final = ROOT / ".cache" / "matrix" / "python-1" / "bin" / "python"
DEADLINE: Final = 600.0  # seconds for one client against all servers; a usual one needs 60
ENVIRONMENT: Final = {"PYTHONPATH": str(ROOT)}
ALL: Final = "all"


def program(side: str, sdk: str) -> list[str]:
    """How the "client" or "server" of an SDK is started."""
    generation = sdk[-1]
    if sdk.startswith("ts"):
        assert (HERE / "node" / "node_modules").exists(), "run `make sides`"
        return [node(), str(HERE / "node" / f"{side}_v{generation}.mjs")]
    python = sys.executable if sdk == "py2" else str(PYTHON_1)
    assert Path(python).exists(), f"{python} is missing: run `make sides`"
    return [python, "-m", f"tests.matrix.sides.{side}_v{generation}"]


def command(server: End, port: int = 0) -> list[str]:
    return [
        *program("server", server.sdk),
        "--wire",
        server.wire,
        "--era",
        server.era,
        "--port",
        str(port),
    ]


@contextmanager
def serving(server: End, directory: Path) -> Iterator[dict[str, Any]]:
    """The server as an entry of the configuration; one behind stdio is the daemon's to start."""
    if server.wire == "stdio":
        start, *arguments = command(server)
        yield {"name": server.name, "command": start, "args": arguments, "env": ENVIRONMENT}
        return
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    process = Process(
        server.name,
        command(server, port),
        log_dir=directory,
        env=ENVIRONMENT,
        ready=lambda: answers(f"{origin}/no-such-page"),
    )
    with process:
        path = "/sse" if server.wire == "sse" else "/mcp"
        yield {"name": server.name, "url": origin + path}


@contextmanager
def gateway(servers: Sequence[End], directory: Path) -> Iterator[Daemon]:
    """The daemon in front of all of them, once each is connected."""
    with ExitStack() as stack:
        entries = [stack.enter_context(serving(server, directory)) for server in servers]
        daemon = Daemon(directory / "daemon", servers=entries, routing_mode="direct")
        stack.enter_context(daemon)
        for server in servers:
            daemon.until(server.name, connected, deadline=60)
        yield daemon


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a feature; "" where it works."""

    server: str
    feature: str
    why: str


def target(daemon: Daemon, client: End, server: End, features: list[str]) -> dict[str, Any]:
    """The server at its own endpoint, as a client's program wants it."""
    return {
        "name": server.name,
        "features": features,
        "version": server.version,
        "not_found": not_found(client, server),
        "refused_first": client.era == server.era == "legacy",
        **_way(daemon, client, f"/mcp/s/{server.name}", "--server", server.name),
    }


def aggregated(daemon: Daemon, client: End, server: End) -> dict[str, Any]:
    """The server as a part of /mcp/all."""
    return {
        **target(daemon, client, server, tried(client, server, AGGREGATE)),
        **_way(daemon, client, "/mcp/all"),
        "tool_prefix": f"{server.name}__",
        "uri_prefix": f"{server.name}+",
    }


def _way(daemon: Daemon, client: End, path: str, *bridged: str) -> dict[str, Any]:
    if client.wire == "stdio":
        env = {"MCPPROXY_DATA_DIR": str(daemon.data_dir), "HOME": str(daemon.data_dir.parent)}
        return {"command": [PROGRAM, "stdio", *bridged], "env": env}
    ending = "/sse" if client.wire == "sse" else ""
    return {"url": f"{daemon.origin}{path}{ending}"}


def run(client: End, targets: Sequence[dict[str, Any]]) -> list[Outcome]:
    """What the client's program says of each feature of each target."""
    job = {"era": client.era, "transport": client.wire, "key": API_KEY, "targets": targets}
    done = subprocess.run(
        program("client", client.sdk),
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        check=False,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    found = {(each["target"], each["feature"]): each["why"] for each in said}
    lost = f"nothing was said of it; the program ended with {done.returncode}: {done.stderr[-600:]}"
    return [
        Outcome(each["name"], feature, found.get((each["name"], feature), lost))
        for each in targets
        for feature in each["features"]
    ]


__all__ = ["ENDS", "aggregated", "gateway", "run", "target"]
