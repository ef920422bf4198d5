"""The demo's stage: a data dir of its own, the provider's process and the daemon's.

Law: everything on it is the real thing, started as a person would start it, and gone afterwards.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import Request, urlopen

PATIENCE_S: Final = 20.0
"""How long a process of ours may take to answer; seconds on the slowest machine."""

POLL_S: Final = 0.1


class StageFailure(Exception):
    """The demo cannot go on; its text says why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Stage:
    """Use as a context manager; `directory` is where everything is kept meanwhile."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._provider_url = f"http://127.0.0.1:{free_port()}"
        self._listen = f"127.0.0.1:{free_port()}"
        self._provider: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Stage":
        config = {
            "listen": self._listen,
            "mcpServers": [{"name": "demo", "url": f"{self._provider_url}/mcp"}],
        }
        path = self._directory / "mcp_config.json"
        path.write_text(json.dumps(config, indent=2))
        path.chmod(0o600)
        port = self._provider_url.rpartition(":")[2]
        self._provider = self._spawn("mcpproxy.demo.provider", port)
        self._until_answers(f"{self._provider_url}/demo/truth", self._provider)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._daemon, self._provider):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        return self._daemon.pid if self._daemon else 0

    def start_daemon(self) -> float:
        """Start `mcpproxy serve`; the seconds until it was ready."""
        began = time.monotonic()
        arguments = ("-d", str(self._directory), "serve", "--log-level", "info")
        self._daemon = self._spawn("mcpproxy", *arguments)
        self._until_answers(f"http://{self._listen}/readyz", self._daemon)
        return time.monotonic() - began

    def kill_daemon(self) -> None:
        """kill -9: no goodbye, nothing saved on the way out."""
        if self._daemon is not None:
            os.kill(self._daemon.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            self._daemon.wait(PATIENCE_S)

    def outage(self, state: str) -> None:
        """The provider answers 503 to every refresh from now on (`on`), or no more (`off`)."""
        self._fetch(Request(f"{self._provider_url}/demo/outage?state={state}", method="POST"))

    def truth(self) -> dict[str, int]:
        """What the provider itself counted: logins, refreshes, refused."""
        counted: dict[str, int] = json.loads(
            self._fetch(Request(self._provider_url + "/demo/truth"))
        )
        return counted

    def allow(self, authorization_url: str) -> None:
        """Click "Allow" on the provider's page, and follow the redirect as a browser would."""
        self._fetch(Request(authorization_url, data=b"answer=allow"))

    def rest(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Ask the daemon, with its key; the `data` of the answer."""
        key = json.loads((self._directory / "mcp_config.json").read_text())["api_key"]
        request = Request(
            f"http://{self._listen}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"x-api-key": key, "content-type": "application/json"},
        )
        data: dict[str, object] = json.loads(self._fetch(request))["data"]
        return data

    def command(self, *arguments: str) -> str:
        """What an `mcpproxy` command prints."""
        done = subprocess.run(  # noqa: S603 - our own module, our own arguments
            [sys.executable, "-m", "mcpproxy", "-d", str(self._directory), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        return (done.stdout or done.stderr).rstrip()

    def log(self) -> str:
        """What the processes wrote."""
        return (self._directory / "demo.log").read_text(errors="replace")

    def _spawn(self, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._directory / "demo.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _until_answers(self, url: str, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise StageFailure(f"a process ended at once:\n{self.log()}")
            try:
                self._fetch(Request(url))
            except (URLError, ConnectionError):
                time.sleep(POLL_S)
            else:
                return
        raise StageFailure(f"{url} did not answer within {PATIENCE_S:g} s:\n{self.log()}")

    def _fetch(self, request: Request) -> bytes:
        with urlopen(request, timeout=PATIENCE_S) as response:
            answer: bytes = response.read()
            return answer
