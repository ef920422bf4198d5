"""Processes with custody on one data directory, as a test holds them; see racer.py."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.peers.process import ROOT

STOP_DEADLINE: Final = 60.0
FAST: Final = {"min_interval": 0.5, "backoff_base": 0.5, "backoff_cap": 2.0}
"""The leases and their time limits stay as they are."""


class Racers:
    """`count` of them, begun with `with`; `pids` are theirs."""

    def __init__(self, data_dir: Path, count: int, policy: Mapping[str, float] = FAST) -> None:
        program = [sys.executable, "-m", "tests.crash.racer", str(data_dir), str(count)]
        self._argv = [*program, json.dumps(dict(policy))]
        self.pids: list[int] = []

    def end(self) -> int:
        """SIGTERM to all; 0 if each of them ended in order."""
        self._popen.send_signal(signal.SIGTERM)
        return self._popen.wait(STOP_DEADLINE)

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(self._argv, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._popen.stdout is not None
        self.pids = [int(pid) for pid in self._popen.stdout.readline().split()]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._popen.poll() is None:
            for pid in self.pids:
                os.kill(pid, signal.SIGKILL)
        self._popen.kill()
        self._popen.communicate()
