"""The quickstart, as a person at a terminal follows it, in namespaces of its own.

`python -m tests.e2e.quickstart_program DIRECTORY` runs the printed commands one after the other and
writes what they said to DIRECTORY/transcript.json. Port 8080 and the name `mcpproxy` belong to
whoever runs this: it wants private network and process namespaces.
"""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from tests.peers.browser import browser_command
from tests.peers.oidc_provider import OidcProvider
from tests.peers.process import ROOT, answers, wait_until
from tests.peers.protected_mcp_server import ProtectedMcpServer

SERVE = "./mcpproxy serve --log-level=debug"
LOGIN = "mcpproxy auth login github-mcp"
HEALTH = """mcpproxy upstream list -o json | jq '.[] | select(.name=="github-mcp") | .health'"""
STOP = "pkill mcpproxy"
METRICS = "curl http://localhost:8080/metrics | grep oauth_refresh"
LIST = "mcpproxy upstream list"
RATE = "curl -s http://localhost:8080/metrics | grep mcpproxy_oauth_refresh_total"
DEBUG = "./mcpproxy serve --log-level=debug 2>&1 | grep -i oauth"

LIFE = 6  # seconds of an access token: the downtime of a restart is longer
POLICY = {"min_interval": "2s", "backoff_base": "2s"}
STEP = 30.0


class Terminal:
    """A directory, a home, and the commands that were typed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._env = {
            **os.environ,
            "HOME": str(directory),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "BROWSER": browser_command("oidc"),
            "NO_COLOR": "1",
        }
        self.transcript: dict[str, str] = {}

    def run(self, step: str, command: str) -> str:
        """Type a command and wait for its end."""
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            env=self._env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=STEP,
            check=False,
        )
        self.transcript[step] = done.stdout
        if done.returncode:
            raise SystemExit(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def leave(self, step: str, command: str) -> Callable[[], str]:
        """Type a command into another terminal and leave it running: what it has said so far.

        A real one: programs write into a pipe or a file later than onto a screen.
        """
        screen: list[bytes] = []
        ours, theirs = pty.openpty()
        subprocess.Popen(
            ["bash", "-c", command],
            env=self._env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

        def watch() -> None:
            with suppress(OSError):  # EIO: everybody on the other side is gone
                while part := os.read(ours, 65536):
                    screen.append(part)

        Thread(target=watch, daemon=True).start()

        def said() -> str:
            shown = b"".join(screen).decode(errors="replace").replace("\r\n", "\n")
            self.transcript[step] = shown
            return shown

        return said


def until_said(said: Callable[[], str], words: str) -> None:
    try:
        wait_until(lambda: bool(re.search(words, said())), deadline=STEP, what=words)
    except TimeoutError as error:
        raise SystemExit(f"{error}\n{said()}") from error


def ready() -> bool:
    return answers("http://127.0.0.1:8080/readyz")


def stop(terminal: Terminal, step: str) -> None:
    terminal.run(step, STOP)
    wait_until(lambda: not ready(), deadline=STEP, what="stopped")
    gone = ["pgrep", "--count", "mcpproxy"]
    wait_until(
        lambda: subprocess.run(gone, stdout=subprocess.DEVNULL, check=False).returncode == 1,
        deadline=STEP,
        what="gone",
    )


def follow(terminal: Terminal, provider: OidcProvider) -> None:
    first = terminal.leave("first run", SERVE)
    wait_until(ready, deadline=STEP, what="ready")
    terminal.run("login", LOGIN)
    logged_in = time.monotonic()
    until_said(first, "OAuth token refresh scheduled")
    terminal.run("list", LIST)
    terminal.run("health", HEALTH)
    stop(terminal, "stop")

    wait_until(lambda: time.monotonic() > logged_in + LIFE, deadline=STEP, what="expired")
    second = terminal.leave("second run", SERVE)
    until_said(second, "OAuth token refresh succeeded")
    terminal.run("metrics", METRICS)
    terminal.run("health after the restart", HEALTH)
    stop(terminal, "stop again")

    third = terminal.leave("debugging", DEBUG)
    wait_until(ready, deadline=STEP, what="ready")
    provider.kill()
    until_said(third, "OAuth token refresh retry scheduled")
    provider.start()
    until_said(third, "OAuth token refresh succeeded")
    until_said(third, "OAuth token refresh scheduled")
    terminal.run("success rate", RATE)
    stop(terminal, "the last stop")


def main(directory: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    terminal = Terminal(directory)
    with (
        OidcProvider(directory / "provider", access_token_ttl=LIFE) as provider,
        ProtectedMcpServer(directory, provider) as server,
    ):
        config = directory / ".mcpproxy" / "mcp_config.json"
        config.parent.mkdir(mode=0o700)
        servers = [{"name": "github-mcp", "url": server.url}]
        config.write_text(json.dumps({"mcpServers": servers, "oauth_refresh": POLICY}))
        config.chmod(0o600)
        try:
            follow(terminal, provider)
        finally:
            written = json.dumps(terminal.transcript, indent=1)
            (directory / "transcript.json").write_text(written)
    print(f"logins: {len(provider.logins())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
