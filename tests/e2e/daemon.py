"""The real daemon as a process of its own, with a configuration that a test writes.

with Daemon(tmp_path, servers=[{"name": "files", "command": "..."}]) as daemon:
    daemon.until("files", connected, deadline=10)
    assert daemon.cli("upstream", "list").stdout ...
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from tests.peers.browser import Landing
from tests.peers.forms import log_in_by_forms
from tests.peers.process import ROOT, PeerFailedError, Process, free_port, http, wait_until

PROGRAM = str(Path(sys.executable).parent / "mcpproxy")
API_KEY = "e2e-0123456789abcdef0123456789abcdef"
COMMAND_DEADLINE = 60.0  # seconds; only a command that waits for a person comes near it

Server = Mapping[str, Any]


def connected(server: Server) -> bool:
    """For `until`: the server is connected and nothing is wrong with it."""
    return server["status"] == "connected" and server["health"]["level"] == "healthy"


def caused_by(cause: str) -> Callable[[Server], bool]:
    """For `until`: the server's health has this cause."""

    def holds(server: Server) -> bool:
        return bool(server["health"]["cause"] == cause)

    return holds


class Daemon:
    """`mcpproxy serve` on a port and a data directory of its own; both survive `restart`."""

    def __init__(
        self,
        directory: Path,
        *,
        servers: Sequence[Server] = (),
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.data_dir = directory / "data"
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.mcp_url = f"{self.origin}/mcp"
        self.config_path = self.data_dir / "mcp_config.json"
        self.settings = {
            "listen": f"127.0.0.1:{self.port}",
            "api_key": API_KEY,
            "mcpServers": [*servers],
            **settings,
        }
        if not self.config_path.exists():
            self.write_config()
        self._opened = directory / "a-browser-was-opened"
        self._env = {
            "HOME": str(directory),
            "NO_COLOR": "1",
            "BROWSER": f"touch {self._opened}",
            **(env or {}),
        }
        self.process = Process(
            "mcpproxy",
            [
                PROGRAM,
                "serve",
                f"--listen=127.0.0.1:{self.port}",
                "-d",
                str(self.data_dir),
                *arguments,
            ],
            log_dir=directory,
            env=self._env,
            ready=self._is_ready,
        )
        self.started_in = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """What an MCP client must send."""
        return {"X-API-Key": API_KEY}

    def write_config(self, **changes: Any) -> None:
        """Write the configuration with these keys changed, as an editor does."""
        self.settings.update(changes)
        fresh = self.config_path.with_suffix(".new")
        fresh.write_text(json.dumps(self.settings, indent=2))
        fresh.chmod(0o600)
        fresh.replace(self.config_path)

    # --- its life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait for /readyz; `started_in` says how many seconds that took."""
        begun = time.monotonic()
        self.process.start()
        self.started_in = time.monotonic() - begun

    def terminate(self) -> None:
        """SIGTERM to the daemon alone, as service managers send it; wait for the end."""
        self._signal(signal.SIGTERM)

    def kill9(self) -> None:
        """SIGKILL to the daemon alone: its children must see to themselves."""
        self._signal(signal.SIGKILL)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._signal(how)
        self.start()

    def _signal(self, how: signal.Signals) -> None:
        pid = self.process.pid
        os.kill(pid, how)
        wait_until(
            lambda: not self.process.running, deadline=15, what=f"mcpproxy gone after {how.name}"
        )
        self.process.kill()  # reaps, and ends what is left of its process group

    def _is_ready(self) -> bool:
        try:
            with http(2.0) as client:
                return client.get(f"{self.origin}/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.stop()
        if exc is not None:
            print(f"--- {self.process.name} said:\n{self.output()[-6000:]}")

    # --- what it says -------------------------------------------------------------------------

    def output(self) -> str:
        """What it wrote to its terminal, over all its lives."""
        return self.process.log()

    def log(self) -> str:
        """What it wrote to its log file."""
        path = self.data_dir / "logs" / "main.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics by their name with its labels."""
        with http(5.0) as client:
            text = client.get(f"{self.origin}/metrics").text
        samples = (line.rpartition(" ") for line in text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in samples if name}

    def refreshes(self, server: str, result: str) -> float:
        """How many refreshes of that result the metrics have counted."""
        name = f'mcpproxy_oauth_refresh_total{{result="{result}",server="{server}"}}'
        other = f'mcpproxy_oauth_refresh_total{{server="{server}",result="{result}"}}'
        found = self.metrics()
        return found.get(other, found.get(name, 0.0))

    def browser_was_opened(self) -> bool:
        """Whether the daemon, or a command without a `BROWSER` of its own, opened one."""
        return self._opened.exists()

    # --- talking to it ------------------------------------------------------------------------

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """The `data` of the answer; an AssertionError that shows it when it is a refusal."""
        answer = self.request(method, path, body)
        assert answer.status_code < 300, answer.text
        return answer.json()["data"]

    def request(
        self, method: str, path: str, body: Any = None, *, timeout: float = 40.0
    ) -> httpx2.Response:
        """The whole answer of `/api/v1` + path."""
        with http(timeout, headers=self.headers) as client:
            return client.request(method, f"{self.origin}/api/v1{path}", json=body)

    def server(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rest("GET", f"/servers/{name}")
        return found

    def until(
        self, name: str, holds: Callable[[Server], bool], *, deadline: float = 15.0
    ) -> dict[str, Any]:
        """Wait for that of a server; the server then. TimeoutError shows its last health."""
        found: dict[str, Any] = {}

        def so() -> bool:
            found.clear()
            found.update(self.server(name))
            return holds(found)

        try:
            wait_until(so, deadline=deadline, what=f"{name} as wanted")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it is {json.dumps(found, indent=1)}") from None
        return found

    def command_environment(self, **extra: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "MCPPROXY" not in name}
        where = {"MCPPROXY_DATA_DIR": str(self.data_dir), "COLUMNS": "200"}
        return {**kept, **self._env, **where, **extra}

    def cli(
        self,
        *arguments: str,
        stdin: str | None = None,
        deadline: float = COMMAND_DEADLINE,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `mcpproxy ARGUMENTS` to its end."""
        return subprocess.run(
            [PROGRAM, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=deadline,
            env=self.command_environment(**env),
            cwd=ROOT,
            check=False,
        )

    def spawn(self, *arguments: str, **env: str) -> "Command":
        """Begin `mcpproxy ARGUMENTS`."""
        return Command(arguments, self.data_dir.parent, self.command_environment(**env))

    def log_in(self, name: str, user: str = "alice") -> Landing:
        """A login over REST and without Chromium, for tests in which it is only the beginning."""
        flow = self.rest("POST", f"/servers/{name}/login", {})
        landing = log_in_by_forms(flow["auth_url"], user)
        ended = self.rest("GET", f"/logins/{flow['flow_id']}?wait=20")
        assert ended["outcome"] == "succeeded", ended
        return landing


class Command:
    """A command that waits for a person, as it runs."""

    def __init__(self, arguments: Sequence[str], directory: Path, env: Mapping[str, str]) -> None:
        self._path = directory / f"command-{time.monotonic_ns()}.out"
        with self._path.open("wb") as output:
            self._popen = subprocess.Popen(
                [PROGRAM, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=ROOT,
                text=True,
            )

    def output(self) -> str:
        return self._path.read_text()

    def url(self) -> str:
        """The URL that it prints for the browser."""
        pattern = re.compile(r"^ *(https?://\S+)\s", re.MULTILINE)
        wait_until(
            lambda: bool(pattern.search(self.output())) or self._popen.poll() is not None,
            deadline=COMMAND_DEADLINE,
            what="a URL is printed",
        )
        found = pattern.search(self.output())
        assert found, self.output()
        return found[1]

    def type(self, line: str) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n")
        self._popen.stdin.flush()

    def end(self, deadline: float = 30.0) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self._popen.wait(deadline)
        finally:
            self._popen.kill()
            if self._popen.stdin is not None:
                self._popen.stdin.close()


def refused_start(daemon: Daemon) -> tuple[int, str]:
    """Start a daemon that must not come up: its exit code and what it said."""
    try:
        daemon.start()
    except PeerFailedError as error:
        words = str(error)
        return int(words.split("ended with ", 1)[1].split(":", 1)[0]), words.split(":\n", 1)[1]
    daemon.process.stop()
    raise AssertionError("the daemon started")
