"""Daemons without the second that Python needs to load them: a process that has loaded all, forks.

`python -m tests.crash.zygote BUG LOG ARGUMENTS...` forks a `mcpproxy ARGUMENTS` for each line on
stdin and prints its pid. BUG names a planted bug; `none` is the product as it is.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.process import ROOT


class Zygote:
    """The test's end of it."""

    def __init__(self, arguments: Sequence[str], env: dict[str, str], log: Path, bug: str) -> None:
        self._argv = [sys.executable, "-m", "tests.crash.zygote", bug, str(log), *arguments]
        self._env = env

    def spawn(self) -> int:
        """The pid of a new daemon, which has just begun."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(b"\n")
        self._popen.stdin.flush()
        return int(self._popen.stdout.readline())

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._env},
            cwd=ROOT,
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._popen.kill()
        self._popen.communicate()


def run(bug: str, log: str, *arguments: str) -> None:
    import httpx2  # noqa: F401 - the daemon loads these with its first refresh
    import uvloop  # noqa: F401

    import mcpproxy.cli
    import mcpproxy.daemon
    from tests.crash.planted import BUGS

    BUGS[bug]()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes the dead away
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(log)
            sys.argv = ["mcpproxy", *arguments]
            mcpproxy.cli.main()
            os._exit(0)
        print(pid, flush=True)


def _become(log: str) -> None:
    """A process of its own, as a shell would have started it."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(ours, theirs)


if __name__ == "__main__":
    run(*sys.argv[1:])
